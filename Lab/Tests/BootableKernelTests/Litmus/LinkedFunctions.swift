// The functions of a linked kernel by their names in source code, and the ordering instructions that each has.

import Foundation
import ImageTools

/// A linked kernel's functions that have ordering instructions.
struct LinkedFunctions {
  var code: Code
  /// The instructions of each function; several where it was specialised more than once.
  let ranges: [String: [Range<Int>]]

  private init(_ code: Code) async throws {
    self.code = code
    let functions = code.functions.filter { function in
      function.instructions.contains { code.words[$0].ordering != nil }
    }
    let result = try await Command(
      "swift", ["demangle", "--simplified", "--compact"] + functions.map(\.name)
    ).run()
    let names = result.output.split(separator: "\n").map { Self.plainName(String($0)) }
    guard result.exitCode == 0, names.count == functions.count else {
      throw LitmusError("swift demangle: \(result.errors)")
    }
    ranges = Dictionary(grouping: zip(names, functions), by: \.0).mapValues { $0.map(\.1.instructions) }
  }

  private static let all = Cache()
  private actor Cache {
    private var tasks: [Guest.CPU: Task<LinkedFunctions, any Error>] = [:]
    func functions(of cpu: Guest.CPU) async throws -> LinkedFunctions {
      let task = tasks[cpu] ?? Task { try await LinkedFunctions(Code(of: cpu)) }
      tasks[cpu] = task
      return try await task.value
    }
  }

  /// The functions of the kernel for a CPU, which is built and read once.
  static func of(_ cpu: Guest.CPU) async throws -> LinkedFunctions { try await all.functions(of: cpu) }

  /// A demangled name without the compiler's additions: `specialized`, and generic arguments.
  static func plainName(_ name: String) -> String {
    var name = name
    while let prefix = ["specialized ", "merged "].first(where: { name.hasPrefix($0) }) {
      name.removeFirst(prefix.count)
    }
    var (plain, depth) = ("", 0)
    for character in name {
      if character == "<" { depth += 1 }
      if depth == 0 { plain.append(character) }
      if character == ">" { depth -= 1 }
    }
    return plain
  }

  /// The ordering instructions of each of a function's specialisations, in the order in which they lie in memory.
  func sequences(of function: String) -> [String] {
    (ranges[function] ?? []).map { range in
      range.compactMap { code.words[$0].ordering?.description }.joined(separator: "; ")
    }.sorted()
  }

  /// Whether some path through functions, one after the other, has the needed instructions in this order.
  ///
  /// Each function is entered at its first instruction, and left anywhere.
  func haveWay(_ needs: [LitmusNeed], through functions: [String]) -> Bool {
    struct State: Hashable { var function: Int, index: Int, met: Int }
    var seen: Set<State> = []
    var left = entries(of: functions, 0).map { State(function: 0, index: $0, met: 0) }
    while var state = left.popLast() {
      guard seen.insert(state).inserted else { continue }
      if state.met < needs.count, let instruction = code.words[state.index].ordering,
        needs[state.met].isMet(by: instruction)
      {
        state.met += 1
      }
      if state.met == needs.count { return true }
      let function = ranges[functions[state.function]] ?? []
      for next in code.successors(of: state.index) where function.contains(where: { $0.contains(next) }) {
        left.append(State(function: state.function, index: next, met: state.met))
      }
      let met = needs[state.met] == .exception ? state.met + 1 : state.met
      left += entries(of: functions, state.function + 1)
        .map { State(function: state.function + 1, index: $0, met: met) }
    }
    return needs.isEmpty
  }

  private func entries(of functions: [String], _ index: Int) -> [Int] {
    functions.indices.contains(index) ? (ranges[functions[index]] ?? []).map(\.lowerBound) : []
  }
}

extension Instruction {
  /// The ordering that it makes, if any.
  var ordering: OrderingInstruction? { OrderingInstruction(decoding: word) }

  /// The same instruction with less order, or a NOP.
  var weakened: Instruction {
    let isOrdered = word & 0x3f00_8000 == 0x0800_8000
    // STLR and LDAR: a plain store or load. STLXR, LDAXR, CASL, CASAL: without the release, or the load's acquire.
    if isOrdered, word >> 21 & 5 == 4 {
      return Instruction(word: word & 0xc000_03ff | (word >> 22 & 1 == 1 ? 0x3940_0000 : 0x3900_0000))
    }
    if isOrdered { return Instruction(word: word & ~0x8000) }
    if word & 0x3fa0_0000 == 0x08a0_0000, word >> 22 & 1 == 1 { return Instruction(word: word & ~0x40_0000) }
    // Atomic operations: without acquire and release.
    if word & 0x3f20_0c00 == 0x3820_0000, word >> 22 & 3 != 0 { return Instruction(word: word & ~0xc0_0000) }
    // DSB ISH: DSB ISHST. All others: NOP.
    return Instruction(word: word == 0xd503_3b9f ? 0xd503_3a9f : 0xd503_201f)
  }
}
