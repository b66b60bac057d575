// The scenario `vmalloc-suite` on the simulated machine: every workload, on one CPU and on several at once.

import KernelStacks
@testable import Scenarios
import SimulatedMachine
@testable import SimulatedScenarios
import Testing

@Suite struct VmallocSuiteTests {
  private func run(cpus: Int, seed: UInt64, rounds: Int = 66) throws -> ScenarioRun {
    var options = ScenarioOptions.small(.vmallocSuite, .vmalloc, seed: seed)
    options.memoryBytes = 16 << 20
    options.cpuCount = cpus
    options.operations = rounds
    return try ScenarioRun(options)
  }

  private func workloads(_ run: ScenarioRun) throws -> [String: [String: Any]] {
    try #require(try run.result["workloads"] as? [String: [String: Any]])
  }

  @Test(arguments: [1, 2, 3]) func `Every workload runs on all CPUs and nothing is lost`(cpus: Int) throws {
    let run = try run(cpus: cpus, seed: UInt64(cpus))
    #expect(run.passed, "\(run.problems)")
    #expect(try run.result["leakedFrames"] as? Int == 0)
    #expect(try run.result["cpus"] as? Int == cpus)
    let workloads = try workloads(run)
    #expect(
      Set(workloads.keys) == [
        "fixSize", "fullFit", "longBusyList", "randomSize", "fixAlign", "randomSizeAlign", "alignShift",
      ])
    for (name, figures) in workloads where name != "alignShift" {
      let areas = name == "longBusyList" ? 2 : 1
      #expect(figures["operations"] as? Int == 2 * 66 * areas * cpus, "\(name)")
      #expect(figures["refused"] as? Int == 0, "\(name)")
    }
    for name in ["fullFit", "longBusyList"] {
      let standing = try #require(workloads[name]?["standingAreas"] as? Int)
      #expect(standing > 500 && standing % cpus == 0, "as many as memory has room for")
    }
    // One multiple of each power of two up to 128 GiB lies in the vmalloc area.
    let refused = try #require(workloads["alignShift"]?["refused"] as? Int)
    #expect(refused == (62 - 37) * cpus)
  }

  @Test(arguments: [(37, 1), (36, 3), (35, 7)])
  func `An alignment is due to as many CPUs as the range has multiples`(shift: Int, multiples: Int) throws {
    let range = try AddressLayout(virtualAddressBits: 39).vmallocArea
    #expect(VmallocSuite<SimulatedParts>.canHold(1 << shift, range, onEachOf: multiples))
    #expect(!VmallocSuite<SimulatedParts>.canHold(1 << shift, range, onEachOf: multiples + 1))
    #expect(!VmallocSuite<SimulatedParts>.canHold(1 << 38, range, onEachOf: 1))
  }

  @Test func `A small area takes one lock besides those of its frames`() throws {
    let workloads = try workloads(run(cpus: 1, seed: 7, rounds: 400))
    let locks = try #require(workloads["fixSize"]?["locksPerOperation"] as? Double)
    // The frame source's are taken for several frames at a time.
    #expect(locks >= 1 && locks < 1.5)
    let invalidations = try #require(workloads["fixSize"]?["tlbInvalidations"] as? Int)
    #expect(invalidations == 400 / 32)
  }

  @Test func `The same seed gives the same result`() throws {
    #expect(try run(cpus: 3, seed: 5).lines == run(cpus: 3, seed: 5).lines)
  }
}
