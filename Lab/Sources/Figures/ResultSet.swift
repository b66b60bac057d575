// The results for a report, and remarks about unusable files.

import Foundation
import ImageTools

/// The results in a folder.
public struct ResultSet: Sendable {
  /// The results of `fragmented-fork`, in the order of the file.
  public var forks: [JSON] = []
  /// The rows of `bench`.
  public var costs: [JSON] = []
  /// One object for each Linux kernel.
  public var linux: [JSON] = []
  /// The results of all other scenarios.
  public var others: [JSON] = []
  /// The files that were used.
  public var files: [String] = []
  /// A line for each file that is missing or unusable.
  public var problems: [String] = []

  /// Makes an empty set of results.
  public init() {}

  /// The files of a complete report, and the command that writes each.
  private static let expected = [
    ("fragmented-fork.json", "make run"), ("bench.json", "make bench"), ("linux.json", "make linux"),
  ]
  /// The largest size of a result file, in bytes; larger files are ignored.
  private static let largestByteCount = 64 << 20

  /// Reads all files of a folder whose names end in `.json`; a fault is recorded in ``problems``.
  public init(folder: String) {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    for name in names.sorted() where name.hasSuffix(".json") { read(name, in: folder) }
    for (name, command) in Self.expected where !names.contains(name) {
      problems.append("\(name) is missing; `\(command)` writes it.")
    }
  }

  private mutating func read(_ name: String, in folder: String) {
    let path = "\(folder)/\(name)"
    let size = (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int ?? 0
    guard size <= Self.largestByteCount else {
      return problems.append("\(name) is no result of KernelStacks: it has \(readable(byteCount: size)).")
    }
    guard let data = FileManager.default.contents(atPath: path) else {
      return problems.append("\(name) cannot be read.")
    }
    add(name, String(decoding: data, as: UTF8.self))
  }

  /// Adds the results of a file, or a remark about its fault.
  public mutating func add(_ name: String, _ text: String) {
    let command = Self.expected.first { $0.0 == name }?.1
    let again = command.map { "; `\($0)` writes it anew" } ?? ""
    guard let value = try? JSON(parsing: text) else {
      return problems.append("\(name) is truncated or no JSON\(again).")
    }
    guard let entries = value.array, !entries.isEmpty, let kind = Kind(entries) else {
      return problems.append("\(name) is no result of KernelStacks\(again).")
    }
    if let missing = kind.missing(in: entries) {
      problems.append("\(name) is of another version of KernelStacks: it has no \(missing)\(again).")
    }
    files.append(name)
    switch kind {
    case .forks: forks = entries
    case .costs: costs = entries
    case .linux: linux = entries
    case .other: others += entries
    }
  }

  private enum Kind {
    case forks, costs, linux, other

    /// Finds the kind of these results; `nil` if they are of several kinds.
    init?(_ entries: [JSON]) {
      func all(_ test: (JSON) -> Bool) -> Bool { entries.allSatisfy(test) }
      if all({ $0["scenario"]?.string == "fragmented-fork" && $0["strategy"]?.string != nil }) {
        self = .forks
      } else if all({ $0["scenario"]?.string != nil && $0["strategy"]?.string != nil }) {
        self = .other
      } else if all({ $0["name"]?.string != nil && $0["strategy"]?.string != nil && $0["instructions"] != nil })
      {
        self = .costs
      } else if all({ $0["kernel"]?.string != nil && $0["forksAttempted"]?.integer != nil }) {
        self = .linux
      } else {
        return nil
      }
    }

    /// The data that figures need and some entry lacks, in words, or `nil`.
    func missing(in entries: [JSON]) -> String? {
      func lacks(_ test: (JSON) -> Bool) -> Bool { !entries.allSatisfy(test) }
      switch self {
      case .forks:
        if lacks({ $0["freeBytesBefore"]?.integer != nil && $0["forksSucceeded"]?.integer != nil }) {
          return "counts of forks"
        }
        if lacks({ $0["frameMaps"]?["before"]?.string.flatMap { FrameMap($0) } != nil }) { return "frame maps" }
        if lacks({ $0["series"] != nil || $0["forksSucceeded"]?.integer ?? 0 < 64 }) { return "series" }
      case .costs:
        if lacks({ $0["live"]?.integer != nil }) { return "numbers of live stacks" }
      case .linux:
        if lacks({ $0["worstFreeInstructions"] != nil }) { return "costs" }
      case .other: break
      }
      return nil
    }
  }

  // MARK: Look-ups for figures

  /// A row of `bench`.
  func cost(_ name: String, _ strategy: String, live: Int? = nil) -> JSON? {
    costs.first {
      $0["name"]?.string == name && $0["strategy"]?.string == strategy
        && (live == nil || $0["live"]?.integer == live)
    }
  }

  /// The strategies with costs, in the order of the file.
  var costStrategies: [String] {
    costs.reduce(into: []) { names, row in
      if let name = row["strategy"]?.string, !names.contains(name) { names.append(name) }
    }
  }
}

extension JSON {
  /// The strategy in words.
  var strategyName: String { strategyInWords(self["strategy"]?.string ?? "?") }
}

/// The strategy in words: `linear` stacks are called contiguous.
func strategyInWords(_ name: String) -> String { name == "linear" ? "contiguous" : name }

/// The colour of a strategy.
func strategyRole(_ name: String) -> Role { Role(rawValue: name) ?? .muted }

extension String {
  /// The text with a capital first letter.
  var asSentence: String { prefix(1).uppercased() + dropFirst() }
}
