// A report's free memory as the machine's: exactly its blocks, and no others.

import FailureReports
import Foundation
import KernelStacks
import SeededRandom
import SimulatedMachine
import Testing

@testable import KernelProcesses
@testable import Scenarios
@testable import SimulatedScenarios

@Suite struct ReportMemoryTests {
  private static func counts(_ numbers: [UInt64]) -> BlockCounts {
    var counts = BlockCounts()
    for (order, number) in numbers.enumerated() { counts[order] = Int(number) }
    return counts
  }

  private static func options(memory: Int) -> ScenarioOptions {
    var options = ScenarioOptions.small(.fragmentedFork, .growing)
    options.memoryBytes = memory
    return options
  }

  @Test(arguments: 1...6 as ClosedRange<UInt64>)
  func `has its blocks free, and what is not usable taken`(seed: UInt64) throws {
    var random = SplitMix64(seed: seed)
    var blocks = BlockCounts()
    var usable = BlockCounts()
    for order in 0...7 {
      blocks[order] = random.next(below: max(2, 96 >> order))
      usable[order] = random.next(below: blocks[order] + 1)
    }
    blocks[0] += 1
    try withProcesses(Self.options(memory: 8 << 20)) { processes, _ in
      let before = processes.snapshot()
      let all = try processes.arrange(blocks, usable: usable)
      #expect(all == blocks, "seed \(seed)")
      #expect(processes.freeBlockCounts() == usable, "seed \(seed)")
      #expect(processes.frames.freeFrames == usable.frames)
      processes.releaseBallast()
      #expect(processes.snapshot().firstDifference(from: before) == nil)
    }
  }

  @Test func `that has no room is refused, and all memory is free again`() throws {
    try withProcesses(Self.options(memory: 8 << 20)) { processes, _ in
      let before = processes.snapshot()
      let blocks = Self.counts([0, 0, 0, 0, 0, 0, 0, 0, 0, 2])
      #expect(throws: MemoryReplayError.self) { _ = try processes.arrange(blocks, usable: blocks) }
      #expect(processes.snapshot().firstDifference(from: before) == nil)
    }
  }

  @Test func `is that of every public report whose list is whole`() throws {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("FailureReportsTests/Reports")
    let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".txt") }
    var lists = 0
    for file in files.sorted() {
      let report = try LineReader.examine(path: folder.appendingPathComponent(file).path)
      for (index, failure) in report.failures.enumerated() {
        for list in failure.report.map({ report.reports[$0].lists }) ?? [] where list.sum > 0 {
          // Scaled down, so that checks after each step take seconds; the blocks of all orders stay.
          let plan = try ReplayPlan(
            report, failure: index + 1, zone: list.zone, greatestMemory: 24 << 20, ownMemory: 4 << 20)
          let blocks = Self.counts(plan.freeBlocks)
          let usable = Self.counts(plan.usableBlocks)
          try withProcesses(Self.options(memory: Int(plan.memoryBytes))) { processes, _ in
            let all = try processes.arrange(blocks, usable: usable)
            #expect(all == blocks, "\(file), \(list.zone)")
            #expect(processes.freeBlockCounts() == usable, "\(file), \(list.zone)")
            processes.releaseBallast()
          }
          lists += 1
        }
      }
    }
    #expect(lists >= 20)
  }

  @Test(arguments: [StackStrategy.linear, .vmalloc, .growing])
  func `is what a scenario forks in`(_ strategy: StackStrategy) throws {
    var options = Self.options(memory: 8 << 20)
    options.strategy = strategy
    options.freeBlocks = Self.counts([120, 64, 3, 1, 0, 0, 0, 0, 0, 0, 0])
    options.usableBlocks = Self.counts([110, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    let run = try ScenarioRun(options)
    #expect(run.passed, "\(run.problems)")
    let result = try run.result
    #expect(result["freeBlocks"] as? [Int] == [120, 64, 3, 1, 0, 0, 0, 0, 0, 0, 0])
    #expect(result["usableBlocks"] as? [Int] == [110, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    #expect(result["freeBytesBefore"] as? Int == 230 * pageSize)
    let forks = try #require(result["forksSucceeded"] as? Int)
    #expect(strategy == .linear ? forks == 0 : forks > 20)
  }

  @Test func `is read from words, and nothing else is`() throws {
    let options = try ScenarioOptions.parsing(
      "free-blocks=5,4,3,2,1,0,0,0,0,0,0 usable-blocks=5,4,0,0,0,0,0,0,0,0,0")
    #expect(options.freeBlocks == Self.counts([5, 4, 3, 2, 1]))
    #expect(options.usableBlocks?.frames == 13)
    for words in [
      "free-blocks=1,2,3", "free-blocks=0,0,0,0,0,0,0,0,0,0,0", "free-blocks=1,,0,0,0,0,0,0,0,0,0",
      "free-blocks=1,0,0,0,0,0,0,0,0,0,0,0", "free-blocks=-1,0,0,0,0,0,0,0,0,0,0",
      "free-blocks=1,0,0,0,0,0,0,0,0,0,99999999999", "usable-blocks=1,0,0,0,0,0,0,0,0,0,0",
      "free-blocks=1,0,0,0,0,0,0,0,0,0,0 usable-blocks=2,0,0,0,0,0,0,0,0,0,0",
    ] {
      #expect(throws: ScenarioOptionError.self, "\(words)") { _ = try ScenarioOptions.parsing(words) }
    }
  }
}
