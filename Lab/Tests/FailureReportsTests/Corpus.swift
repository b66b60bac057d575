// The public reports that are kept beside the tests as data.

import FailureReports
import Foundation

enum Corpus {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Reports")

  /// The names of all reports, in order.
  static func names() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".txt") }.sorted()
  }

  /// The bytes of the report whose name begins with `number`.
  static func bytes(_ number: String) throws -> [UInt8] {
    let name = try names().first { $0.hasPrefix(number) } ?? number
    return [UInt8](try Data(contentsOf: folder.appendingPathComponent(name)))
  }

  /// What the doctor makes of the report whose name begins with `number`.
  static func report(_ number: String) throws -> FileReport { try LineReader.examine(try bytes(number)) }
}

/// What a text tells, line by line.
func examine(_ text: String) throws -> FileReport { try LineReader.examine(Array(text.utf8)) }
