// Writes results as JSON files.

import Foundation
import ImageTools

/// What cannot be done, in one line for the person at the keyboard.
struct CommandError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

enum ResultFile {
  /// The keys that travel on the console but have no place in a file: the kind of line, and the large frame maps.
  private static let consoleKeys = ["type", "frameMaps"]

  /// The contents of a file with these results: an array, one object for each.
  static func contents(_ results: [JSON]) -> String {
    let objects = results.map { result in consoleKeys.reduce(result) { $0.removing($1) } }
    return JSON.array(objects).formatted + "\n"
  }

  /// Where results go when nothing else was asked for: `build/NAME.json` in the package's folder.
  static func defaultPath(_ name: String) throws(CommandError) -> String {
    guard let root = PackageRoot.path else {
      throw CommandError(
        "the package's folder was not found: run this inside a clone of KernelStacks, or use --json")
    }
    return "\(root)/build/\(name).json"
  }

  /// A path as people read it: relative to the current directory where it lies below.
  static func displayed(_ path: String) -> String {
    let here = FileManager.default.currentDirectoryPath + "/"
    return path.hasPrefix(here) ? String(path.dropFirst(here.count)) : path
  }

  /// Replaces a file in one step, and creates its folder if need be.
  static func write(_ results: [JSON], to path: String) throws(CommandError) {
    let url = URL(fileURLWithPath: path)
    do {
      try FileManager.default.createDirectory(
        at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(contents(results).utf8).write(to: url, options: .atomic)
    } catch {
      throw CommandError("cannot write \(path): \(error.localizedDescription)")
    }
  }
}
