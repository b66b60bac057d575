// Each scenario on the simulated machine: its own checks hold, and its result has the expected values.

import Foundation
import KernelStacks
import Scenarios
import Testing

@Suite struct ScenarioTests {
  static let all: [ScenarioName] = [
    .fragmentedFork, .forkChurn, .forksAtOnce, .exhaustion, .recovery, .isolation, .kernelMemory,
  ]

  @Test(arguments: all, [StackStrategy.linear, .vmalloc, .growing])
  func `Every scenario passes its own checks with every strategy`(
    _ scenario: ScenarioName, _ strategy: StackStrategy
  ) throws {
    for seed: UInt64 in 1...2 {
      let run = try ScenarioRun(.small(scenario, strategy, seed: seed))
      #expect(run.passed, "seed \(seed): \(run.problems)")
      let result = try run.result
      #expect(result["scenario"] as? String == "\(scenario.name)")
      #expect(result["machine"] as? String == "simulated")
      #expect(result["strategy"] as? String == "\(strategy.name)")
      #expect(result["seed"] as? UInt64 == seed)
      #expect(result["memoryBytes"] as? Int == 4 << 20)
      #expect(result["leakedFrames"] as? Int == 0)
    }
  }

  @Test(arguments: all + [.overflow]) func `Every scenario passes its own checks with lent pages`(
    _ scenario: ScenarioName
  ) throws {
    for seed: UInt64 in 1...2 {
      var options = ScenarioOptions.small(scenario, .growing, seed: seed)
      options.growth = .lent
      let run = try ScenarioRun(options)
      #expect(run.passed, "seed \(seed): \(run.problems)")
      #expect(try run.result["leakedFrames"] as? Int == 0)
    }
  }

  @Test(arguments: [StackStrategy.vmalloc, .growing], 1...5 as ClosedRange<UInt64>)
  func `Tasks that overflow their stacks die, all others go on, and nothing is lost`(
    _ strategy: StackStrategy, _ seed: UInt64
  ) throws {
    let run = try ScenarioRun(.small(.overflow, strategy, seed: seed))
    #expect(run.passed, "seed \(seed): \(run.problems)")
    let result = try run.result
    let overflowed = try #require(result["overflowed"] as? Int)
    #expect(overflowed >= 2 && result["died"] as? Int == overflowed, "seed \(seed)")
    #expect(result["survived"] as? Int == 48 - overflowed, "seed \(seed)")
    #expect(result["leakedFrames"] as? Int == 0, "seed \(seed)")
  }

  @Test func `Without a guard the first overflow that is found ends the kernel`() throws {
    let run = try ScenarioRun(.small(.overflow, .linear))
    #expect(run.passed, "\(run.problems)")
    let result = try run.result
    #expect(result["kernelEnd"] as? String == "panic")
    #expect(result["overflowed"] as? Int == 1)
    #expect(result["leakedFrames"] is NSNull)
  }

  @Test(arguments: [8192, 12288, 20480, 24576])
  func `Stacks that are no power of two fork until memory ends`(_ size: Int) throws {
    var options = ScenarioOptions.small(.fragmentedFork, .vmalloc)
    options.stackSize = size
    let run = try ScenarioRun(options)
    #expect(run.passed, "\(run.problems)")
    let stacks = try #require(try run.result["stackBytes"] as? Int)
    let forks = try #require(try run.result["forksSucceeded"] as? Int)
    #expect(stacks == (forks + 1) * size)
  }

  @Test(arguments: all) func `Every scenario passes with 48-bit addresses`(_ scenario: ScenarioName) throws {
    var options = ScenarioOptions.small(scenario, .vmalloc)
    options.virtualAddressBits = 48
    let run = try ScenarioRun(options)
    #expect(run.passed, "\(run.problems)")
  }

  @Test(arguments: [ScenarioName.fragmentedFork, .forkChurn, .exhaustion, .recovery])
  func `Every scenario passes with two memory nodes`(_ scenario: ScenarioName) throws {
    var options = ScenarioOptions.small(scenario, .vmalloc)
    options.nodeCount = 2
    let run = try ScenarioRun(options)
    #expect(run.passed, "\(run.problems)")
  }

  @Test func `The same seed gives the same lines`() throws {
    let options = ScenarioOptions.small(.fragmentedFork, .vmalloc, seed: 7)
    #expect(try ScenarioRun(options).lines == ScenarioRun(options).lines)
    var other = options
    other.seed = 8
    #expect(
      try ScenarioRun(options).result["frameMaps"] as? [String: String]
        != ScenarioRun(other).result["frameMaps"] as? [String: String])
  }

  @Test func `Exhaustion finds forks that need a task-record frame and a stack table too`() throws {
    let run = try ScenarioRun(.small(.exhaustion, .vmalloc))
    let kinds = try #require(try run.result["kindsOfFork"] as? Int)
    #expect(kinds >= 3, "record in an old frame, in a new one, stack in a new table")
  }

  @Test func `A machine that is too small is an error in words, with figures`() throws {
    var options = ScenarioOptions.small(.isolation, .vmalloc)
    options.memoryBytes = 11 * pageSize
    let run = try ScenarioRun(options)
    #expect(!run.passed)
    #expect(run.problems == ["order 0 for a page table refused: 0 bytes free, largest block 0 bytes"])
  }

  @Test(arguments: [StackStrategy.linear, .vmalloc])
  func `The benchmark measures every operation and stays within two percent of memory`(
    _ strategy: StackStrategy
  ) throws {
    var options = ScenarioOptions()
    options.scenario = .bench
    options.strategy = strategy
    let run = try ScenarioRun(options)
    #expect(run.passed, "\(run.problems)")
    let rows = run.objects.filter { $0["type"] as? String == "benchmark" }
    #expect(rows.count == (strategy == .linear ? 22 : 30))
    for row in rows {
      #expect(row["name"] is String && row["live"] is Int && row["strategy"] as? String == "\(strategy.name)")
      // A row is about time or about memory; the fields of the other kind are null, never left out.
      if row["bytesPerStack"] is Int || row["bytesPerThread"] is Int {
        #expect(row["instructions"] is NSNull && row["tlbInvalidations"] is NSNull)
      } else {
        #expect(row["instructions"] is Int && row["tlbInvalidations"] is Int)
      }
    }
    #expect(rows.count { $0["bytesPerStack"] is Int } == 1)
    #expect(rows.contains { $0["live"] as? Int == 4000 })
  }
}
