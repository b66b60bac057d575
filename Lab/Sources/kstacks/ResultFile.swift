// Writes results as JSON files, and other files as safely.

import Foundation
import ImageTools

/// What cannot be done, in one line for the person at the keyboard.
struct CommandError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

enum ResultFile {
  /// What travels on the console but has no place in a file: the kind of line.
  private static let consoleKeys = ["type"]

  /// The contents of a file with these results: an array, one object for each.
  static func contents(_ results: [JSON]) throws -> String {
    try JSON.array(results.map { $0.removing(consoleKeys) }).formatted + "\n"
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

  /// Makes sure, before a run, that its results can be written, and creates their folder if need be.
  static func prepare(_ path: String) throws(CommandError) {
    let target = target(of: path)
    let folder = target.deletingLastPathComponent()
    let manager = FileManager.default
    if path.isEmpty { throw CommandError("the file for the results has no name") }
    if path == "-" { throw CommandError("cannot write to standard output, which has the tables: name a file") }
    // What lies in /dev may lead to a regular file, but must not be replaced.
    let type = try? manager.attributesOfItem(atPath: target.path)[.type] as? FileAttributeType
    if URL(fileURLWithPath: path).standardizedFileURL.path.hasPrefix("/dev/")
      || type ?? .typeRegular != .typeRegular
    {
      throw CommandError("cannot write \(path): it is no regular file")
    }
    do {
      try manager.createDirectory(at: folder, withIntermediateDirectories: true)
      // Files are replaced as a whole, which takes the right to make new ones in the folder.
      let probe = folder.appendingPathComponent(".kstacks-\(UUID().uuidString)")
      try Data().write(to: probe)
      try manager.removeItem(at: probe)
    } catch {
      throw CommandError("cannot write \(path): \(reason(error))")
    }
  }

  /// Replaces a file in one step: who reads it meanwhile gets the old one or the new one.
  static func write(_ results: [JSON], to path: String) throws(CommandError) {
    let text: String
    do {
      text = try contents(results)
    } catch {
      throw CommandError("cannot write \(path): \(reason(error))")
    }
    try write(text: text, to: path)
  }

  /// Replaces a file by a text in one step.
  static func write(text: String, to path: String) throws(CommandError) {
    do {
      try Data(text.utf8).write(to: target(of: path), options: .atomic)
    } catch {
      throw CommandError("cannot write \(path): \(reason(error))")
    }
  }

  /// The file itself, where the path is a symbolic link: the file is replaced, not the link.
  private static func target(of path: String) -> URL { URL(fileURLWithPath: path).resolvingSymlinksInPath() }

  /// What the system says, without Foundation's frame around it.
  static func reason(_ error: any Error) -> String {
    systemError(error).map { String(cString: strerror($0)) } ?? error.localizedDescription
  }

  /// The system's number for what went wrong, if it was the system that refused.
  static func systemError(_ error: any Error) -> Int32? {
    guard let cause = (error as NSError).userInfo[NSUnderlyingErrorKey] as? any Error else { return nil }
    let error = cause as NSError
    return error.domain == NSPOSIXErrorDomain ? Int32(truncatingIfNeeded: error.code) : nil
  }
}
