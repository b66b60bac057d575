// A litmus test of verify/litmus: the instructions of each thread, and the functions that they are taken from.

import Foundation
import ImageTools

/// The reason why the tests cannot be compared.
struct LitmusError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// The folder of the litmus tests.
struct LitmusFolder {
  let path: String

  init() throws {
    guard let root = PackageRoot.path else { throw LitmusError("the package's folder was not found") }
    path = "\(root)/verify/litmus"
  }

  func text(of file: String) throws -> String {
    try String(contentsOfFile: "\(path)/\(file)", encoding: .utf8)
  }

  /// All tests, but not their broken variants.
  func tests() throws -> [LitmusFile] {
    try FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasSuffix(".litmus") }.sorted()
      .map { try LitmusFile(name: String($0.dropLast(".litmus".count)), text(of: $0)) }
  }

  /// The names in the index: tests and broken variants.
  func indexedNames() throws -> [String] {
    try text(of: "index").split(separator: "\n").filter { !$0.hasPrefix("#") }
      .map { $0.prefix { $0 != "|" }.trimmingCharacters(in: .whitespaces) }
  }
}

/// A litmus test.
///
///     (*
///        Source: Sources/CAArch64/lock.c (ca_lock_contended)
///        P0: kernelGrow, ThreadScheduler.next(after:stacks:switching:)
///        P1: -
///     *)
struct LitmusFile: CustomStringConvertible {
  struct Thread {
    /// Its instructions, with labels.
    var instructions: [String]
    /// The functions that it goes through, in order; empty for one that stands for any code.
    var functions: [String]
  }

  let name: String
  let sources: [String]
  let threads: [Thread]
  var description: String { name }

  init(name: String, _ text: String) throws {
    self.name = name
    let lines = text.components(separatedBy: "\n")
    sources = lines.compactMap { Self.value(of: "Source", in: $0) }
    let rows = lines.drop { !$0.hasPrefix("}") }.filter { $0.hasPrefix(" ") && $0.hasSuffix(";") }
      .map { row in
        row.dropLast().split(separator: "|", omittingEmptySubsequences: false)
          .map { $0.trimmingCharacters(in: .whitespaces) }
      }
    guard let header = rows.first else { throw LitmusError("\(name): no program") }
    threads = try header.indices.map { column in
      guard let functions = lines.lazy.compactMap({ Self.value(of: "P\(column)", in: $0) }).first else {
        throw LitmusError("\(name): nothing says what P\(column) is taken from")
      }
      return Thread(
        instructions: rows.dropFirst().map { $0[column] }.filter { !$0.isEmpty },
        functions: functions == "-" ? [] : functions.components(separatedBy: ", "))
    }
  }

  private static func value(of key: String, in line: String) -> String? {
    line.hasPrefix("   \(key): ") ? String(line.dropFirst(key.count + 5)) : nil
  }

  /// Whether it applies to a kernel for a CPU: with FEAT_LSE, without it, or both.
  func isOf(_ cpu: Guest.CPU, among all: [LitmusFile]) -> Bool {
    if name.hasSuffix("-lse") { return cpu == .max }
    return cpu != .max || !all.contains { $0.name == name + "-lse" }
  }
}

/// A requirement of a litmus test's thread on the code that it is taken from.
enum LitmusNeed: Equatable, CustomStringConvertible {
  /// An instruction of any size.
  case instruction(OrderingInstruction)
  /// An atomic operation with this order, or, where the test has no store of it, a load-exclusive.
  case atomic(order: String, orLoad: OrderingInstruction?)
  /// An exception, which leaves one function for the next.
  case exception

  var description: String {
    switch self {
    case .instruction(let wanted): wanted.withoutSize
    case .atomic(let order, let load): "atomic\(order)" + (load.map { " or \($0.withoutSize)" } ?? "")
    case .exception: "exception"
    }
  }

  func isMet(by instruction: OrderingInstruction) -> Bool {
    switch self {
    case .instruction(let wanted): wanted.withoutSize == instruction.withoutSize
    case .atomic(let order, let load):
      instruction.isAtomicOperation && instruction.order == order
        || load.map { $0.withoutSize == instruction.withoutSize } ?? false
    case .exception: false
    }
  }
}

extension LitmusFile.Thread {
  /// The thread's requirements on the code of a kernel.
  ///
  /// - An `ISB` labelled `ENTRY` stands for taking an exception, which leaves one function for the next; one labelled
  ///   `RETURN` for an ERET.
  /// - With FEAT_LSE a load-exclusive and the store-exclusive after it are one atomic operation with the order of both.
  func needs(hasAtomicOperations: Bool) -> [LitmusNeed] {
    let wanted = instructions.compactMap { text -> LitmusNeed? in
      if text.hasPrefix("ENTRY: ") { return .exception }
      if text.hasPrefix("RETURN: ") { return .instruction(OrderingInstruction("eret")) }
      let label = text.prefixMatch(of: /[A-Z0-9]+: ?/)?.0.count ?? 0
      return OrderingInstruction(assembly: String(text.dropFirst(label))).map { .instruction($0) }
    }
    guard hasAtomicOperations else { return wanted }
    var needs: [LitmusNeed] = []
    var isStored = false
    for need in wanted.reversed() {
      guard case .instruction(let instruction) = need else {
        needs.append(need)
        continue
      }
      switch instruction.mnemonic {
      case "stxr", "stlxr":
        needs.append(.atomic(order: instruction.mnemonic == "stlxr" ? "l" : "", orLoad: nil))
        isStored = true
      case "ldxr", "ldaxr":
        let acquires = instruction.mnemonic == "ldaxr" ? "a" : ""
        if isStored, case .atomic(let order, _) = needs.last {
          needs[needs.count - 1] = .atomic(order: acquires + order, orLoad: nil)
        } else {
          needs.append(.atomic(order: acquires, orLoad: instruction))
        }
        isStored = false
      default: needs.append(.instruction(instruction))
      }
    }
    return needs.reversed()
  }
}
