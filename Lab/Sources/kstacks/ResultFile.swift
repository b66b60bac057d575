// Result files in JSON, and other files, each written in one step.

import Foundation
import ImageTools

/// The error of a command, in one line for the user.
struct CommandError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

enum ResultFile {
  /// The member of a console line that files leave out: its type.
  private static let consoleKeys = ["type"]

  /// The contents of a file with these results: an array of one object each.
  static func contents(_ results: [JSON]) throws -> String {
    try JSON.array(results.map { $0.removing(consoleKeys) }).formatted + "\n"
  }

  /// The default path of results: `build/NAME.json` in the package's folder.
  static func defaultPath(_ name: String) throws(CommandError) -> String {
    guard let root = PackageRoot.path else {
      throw CommandError(
        "the package's folder was not found: run this inside a clone of KernelStacks, or use --json")
    }
    return "\(root)/build/\(name).json"
  }

  /// A path for messages: relative to the current directory if it lies below.
  static func displayed(_ path: String) -> String {
    let here = FileManager.default.currentDirectoryPath + "/"
    return path.hasPrefix(here) ? String(path.dropFirst(here.count)) : path
  }

  /// Checks, before a run, that its results can be written, and creates their folder if it is missing.
  static func prepare(_ path: String) throws(CommandError) {
    let target = target(of: path)
    let folder = target.deletingLastPathComponent()
    let manager = FileManager.default
    if path.isEmpty { throw CommandError("the file for the results has no name") }
    if path == "-" { throw CommandError("cannot write to standard output, which has the tables: name a file") }
    // A path in /dev may lead to a regular file, but must not be replaced.
    let type = try? manager.attributesOfItem(atPath: target.path)[.type] as? FileAttributeType
    if URL(fileURLWithPath: path).standardizedFileURL.path.hasPrefix("/dev/")
      || type ?? .typeRegular != .typeRegular
    {
      throw CommandError("cannot write \(path): it is no regular file")
    }
    do {
      try manager.createDirectory(at: folder, withIntermediateDirectories: true)
      // Files are replaced as a whole, which needs the right to create files in the folder.
      let probe = folder.appendingPathComponent(".kstacks-\(UUID().uuidString)")
      try Data().write(to: probe)
      try manager.removeItem(at: probe)
    } catch {
      throw CommandError("cannot write \(path): \(reason(error))")
    }
  }

  /// Replaces a file in one step: a reader gets the old one or the new one.
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

  /// The target of a symbolic link, or the file itself: the file is replaced, not the link.
  private static func target(of path: String) -> URL { URL(fileURLWithPath: path).resolvingSymlinksInPath() }

  /// The system's message, without Foundation's additions.
  static func reason(_ error: any Error) -> String {
    systemError(error).map { String(cString: strerror($0)) } ?? error.localizedDescription
  }

  /// The system's error number, if the system refused.
  static func systemError(_ error: any Error) -> Int32? {
    guard let cause = (error as NSError).userInfo[NSUnderlyingErrorKey] as? any Error else { return nil }
    let error = cause as NSError
    return error.domain == NSPOSIXErrorDomain ? Int32(truncatingIfNeeded: error.code) : nil
  }
}
