// The storm on the simulated machine: the same threads as in the kernel, interleaved inside every operation by the seed, on
// CPUs that may use any translation that they could have cached. `make soak` runs thousands of schedules.

import KernelStacks
import Testing

@testable import Scenarios
@testable import SimulatedScenarios

@Suite struct SimulatedStormTests {
  /// A storm that takes a fraction of a second: from one to four CPUs and little memory, at times so little that many
  /// requests are refused.
  static func options(_ strategy: StackStrategy, seed: UInt64) -> ScenarioOptions {
    var options = ScenarioOptions.small(.smpStorm, strategy, seed: seed)
    options.cpuCount = 1 + Int(seed % 4)
    options.memoryBytes = 4 << 20
    options.threadCount = 6
    options.operations = 150
    return options
  }

  @Test(arguments: 0..<4, [GrowthMode.onFault, .lent])
  func `Whatever happens at the same time, no word and no frame is lost`(
    _ part: UInt64, _ growth: GrowthMode
  ) throws {
    var sums: [String: Int] = [:]
    for seed in part * 10 + 1...part * 10 + 10 {
      var options = Self.options(.growing, seed: seed)
      options.growth = growth
      let run = try ScenarioRun(options)
      #expect(run.passed, "seed \(seed): \(run.problems)")
      let result = try run.result
      #expect(result["leakedFrames"] as? Int == 0 && result["violations"] as? Int == 0, "seed \(seed)")
      for (key, value) in try #require(result["mix"] as? [String: Any]) {
        sums[key, default: 0] += value as? Int ?? 0
      }
    }
    // Events that are rare in one run have happened in ten. Where pages are lent, no stack fault happens.
    for key in sums.keys {
      #expect((sums[key, default: 0] > 0) == (growth == .onFault || key != "growthsOnFault"), "\(key)")
    }
    #expect(sums.count == 13)
  }

  @Test(arguments: [StackStrategy.linear, .vmalloc]) func `Stacks that do not grow weather a storm too`(
    _ strategy: StackStrategy
  ) throws {
    for seed: UInt64 in 1...5 {
      let run = try ScenarioRun(Self.options(strategy, seed: seed))
      #expect(run.passed, "seed \(seed): \(run.problems)")
    }
  }
}
