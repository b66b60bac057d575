// A process may note any value: it is only a figure, and the kernel goes on.

import KernelStacks
import SimulatedMachine
import Testing
import SystemCallInterface
import UserPrograms

@testable import KernelProcesses
@testable import Scenarios
@testable import SimulatedScenarios

@Suite struct NoteTests {
  static let noCounts = [Int.min, -1, Int(Int32.max) + 1, Int.max]

  @Test(arguments: 0..<8) func `A note that is no count is ignored`(kind: Int) throws {
    try withProcesses { processes, kernel in
      let first = try processes.createFirst(kernel.image)
      let note = try #require(Note(rawValue: kind))
      for value in Self.noCounts {
        processes.takeNote(kind, value, from: first, console: kernel.console)
        #expect(processes.noted(note) == 0)
      }
    }
  }

  @Test func `The sum of any notes is a count`() throws {
    try withProcesses { processes, kernel in
      let first = try processes.createFirst(kernel.image)
      for value in [3, Int(Int32.max), Int.max, Int(Int32.max), 4] {
        processes.takeNote(Note.childrenOutOfMemory.rawValue, value, from: first, console: kernel.console)
      }
      #expect(processes.noted(.childrenOutOfMemory) == Int(Int32.max))
    }
  }

  @Test(arguments: noCounts) func `Kinds of notes that there are not are ignored`(kind: Int) throws {
    try withProcesses { processes, kernel in
      let first = try processes.createFirst(kernel.image)
      processes.takeNote(kind, 7, from: first, console: kernel.console)
      for number in 0..<8 { #expect(processes.noted(Note(rawValue: number)!) == 0) }
    }
  }
}
