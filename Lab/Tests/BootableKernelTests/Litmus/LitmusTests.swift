// The proved code is the code that runs: the litmus tests of verify/litmus against the linked kernels.
//
//   verify/litmus/NAME.litmus ---- each thread is a way through the functions that it names
//             |                                         |
//       herd7 (make litmus)                verify/litmus/linked ---- what each of them has, all of it, in both kernels
//
// Where a change of the code is intended, the record for the new code is in build/litmus-linked after the tests have
// failed. A person compares the change with the litmus tests.

import Foundation
import ImageTools
import Testing

@Suite struct LitmusTests {
  @Test(arguments: Guest.CPU.allCases)
  func `Every function that a litmus test is taken from has all recorded ordering instructions`(cpu: Guest.CPU)
    async throws
  {
    let folder = try LitmusFolder()
    let record = LinkedRecord(try folder.text(of: "linked"))
    let linked = try await LinkedFunctions.of(cpu)
    let differences = record.differences(from: linked, for: cpu)
    for function in differences {
      let recorded = record.sequences[function]?[cpu] ?? []
      Issue.record(
        """
        \(function) for \(cpu.rawValue)
          recorded: \(recorded.joined(separator: "\n            "))
          linked:   \(linked.sequences(of: function).joined(separator: "\n            "))
        """)
    }
    let functions = Set(try folder.tests().flatMap(\.threads).flatMap(\.functions))
    if !differences.isEmpty || functions != Set(record.sequences.keys) {
      try await writeNewRecord(folder, functions)
    }
  }

  @Test(arguments: Guest.CPU.allCases)
  func `Every thread of a litmus test is a way through the functions that it names`(cpu: Guest.CPU) async throws
  {
    let tests = try LitmusFolder().tests()
    let linked = try await LinkedFunctions.of(cpu)
    for test in tests where test.isOf(cpu, among: tests) {
      for (number, thread) in test.threads.enumerated() where !thread.functions.isEmpty {
        let needs = thread.needs(hasAtomicOperations: cpu == .max)
        let hasWay = linked.haveWay(needs, through: thread.functions)
        let way = needs.map(\.description).joined(separator: "; ")
        #expect(hasWay, "\(test), P\(number), \(cpu.rawValue): \(thread.functions) have no way by \(way)")
      }
    }
  }

  @Test(arguments: Guest.CPU.allCases)
  func `A thread that does more than the code is refused`(cpu: Guest.CPU) async throws {
    let tests = try LitmusFolder().tests()
    let linked = try await LinkedFunctions.of(cpu)
    for test in tests where test.isOf(cpu, among: tests) {
      for thread in test.threads where !thread.functions.isEmpty {
        let needs = thread.needs(hasAtomicOperations: cpu == .max)
        let more = needs + [.instruction(OrderingInstruction("dmb", "osh"))]
        let hasWay = linked.haveWay(more, through: thread.functions)
        #expect(!hasWay, "\(test)")
      }
    }
  }

  @Test(arguments: Guest.CPU.allCases)
  func `A kernel is refused that has any one of these instructions weaker, the last of several included`(
    cpu: Guest.CPU
  ) async throws {
    let record = LinkedRecord(try LitmusFolder().text(of: "linked"))
    var linked = try await LinkedFunctions.of(cpu)
    let before = record.differences(from: linked, for: cpu)
    var count = 0
    for function in record.sequences.keys where !before.contains(function) {
      for range in linked.ranges[function] ?? [] {
        for index in range where linked.code.words[index].ordering != nil {
          let word = linked.code.words[index]
          linked.code.words[index] = word.weakened
          let sequences = linked.sequences(of: function)
          linked.code.words[index] = word
          count += 1
          let isFound = sequences != record.sequences[function]?[cpu]
          #expect(isFound, "\(linked.code.place(index))")
        }
      }
    }
    #expect(count > 200)
  }

  @Test func `A kernel is refused in which one of several STLRB of a function is a STRB`() async throws {
    let record = LinkedRecord(try LitmusFolder().text(of: "linked"))
    var linked = try await LinkedFunctions.of(.cortexA72)
    let function = "ThreadScheduler.next(after:stacks:switching:)"
    let unlocks = try #require(linked.ranges[function]).joined().filter {
      linked.code.words[$0].ordering == OrderingInstruction("stlr", "b")
    }
    try #require(unlocks.count > 1)
    for index in unlocks {
      let stlrb = linked.code.words[index]
      // STRB with the same registers.
      linked.code.words[index] = Instruction(word: 0x3900_0000 | stlrb.word & 0x3ff)
      let differences = record.differences(from: linked, for: .cortexA72)
      #expect(differences.contains(function))
      linked.code.words[index] = stlrb
    }
  }

  @Test func `Index, files, sources and the record of functions name each other`() throws {
    let folder = try LitmusFolder()
    let tests = try folder.tests()
    let names = try folder.indexedNames()
    #expect(Set(names).count == names.count)
    #expect(Set(names.filter { !$0.contains("-bad-") }) == Set(tests.map(\.name)))
    for name in names where name.contains("-bad-") {
      #expect(tests.contains { name.hasPrefix("\($0.name)-bad-") }, "\(name) is a variant of no test")
    }
    for test in tests {
      #expect(!test.sources.isEmpty, "\(test)")
      for source in test.sources where !source.hasPrefix("none yet: ") {
        let file = source.prefix { $0 != " " }
        #expect(
          FileManager.default.fileExists(atPath: "\(folder.path)/../../\(file)"),
          "\(test): there is no \(file)")
      }
    }
    let record = LinkedRecord(try folder.text(of: "linked"))
    for (function, sequences) in record.sequences {
      for cpu in Guest.CPU.allCases {
        #expect(sequences[cpu]?.isEmpty == false, "\(function), \(cpu.rawValue)")
      }
    }
    #expect(Set(record.sequences.keys) == Set(tests.flatMap(\.threads).flatMap(\.functions)))
  }

  // Writes the record of the kernels as they are linked.
  private func writeNewRecord(_ folder: LitmusFolder, _ functions: Set<String>) async throws {
    var record = LinkedRecord()
    for (cpu, _) in LinkedRecord.kinds {
      let linked = try await LinkedFunctions.of(cpu)
      for function in functions {
        record.sequences[function, default: [:]][cpu] = linked.sequences(of: function)
      }
    }
    let comment = try folder.text(of: "linked").split(separator: "\n", omittingEmptySubsequences: false)
      .prefix { $0.hasPrefix("#") }.joined(separator: "\n")
    let path = "\(folder.path)/../../build/litmus-linked"
    try (comment + "\n" + record.text).write(toFile: path, atomically: true, encoding: .utf8)
  }
}
