// All CPUs at once: the costs of operations, and workloads that each CPU carries out for itself.

import ImageTools
import Testing

@Suite struct AllCPUs {
  @Test(arguments: ["vmalloc", "growing"])
  func `Cached stacks cost on eight CPUs what they cost on one`(strategy: String) async throws {
    let run = try await boot("scenario=bench strategy=\(strategy)") { $0.cpuCount = 8 }
    expectSuccess(run)
    let rows = run.records(ofType: "benchmark").filter { $0["ratio"] != nil }
    #expect(rows.count == 4)
    let cached = try #require(rows.first { $0["name"]?.string?.contains("cached") == true })
    let one = try #require(cached["instructionsOnOneCPU"]?.integer)
    let all = try #require(cached["instructions"]?.integer)
    #expect(one > 0 && all * 100 <= one * 115)
    #expect(cached["locksPerOperation"]?.number == 0)
    #expect(cached["tlbInvalidations"]?.integer == 0)
    #expect(rows.allSatisfy { $0["cpus"]?.integer == 8 })
  }

  @Test func `Each wait of forks at once is a wait for a lock with a name`() async throws {
    let run = try await boot("scenario=forks-at-once strategy=vmalloc operations=512") { $0.cpuCount = 8 }
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    let locks = try #require(result["lockWaits"]?.members)
    let waits = locks.values.compactMap { $0["waits"]?.integer }.reduce(0, +)
    let perFork = try #require(result["lockWaitsPerFork"]?.number)
    // 520 forks: those of eight processes, and the eight themselves.
    #expect(waits > 0 && abs(Double(waits) / 520 - perFork) <= 0.001)
    #expect(locks["otherLocks"] == nil)
    // Forks of different processes take their numbers under it.
    #expect(try #require(locks["processTable"]?["waits"]?.integer) > 0)
  }

  @Test func `What one CPU does rises with the number of CPUs where it looks at each`() async throws {
    let run = try await boot("scenario=bench strategy=growing") { $0.cpuCount = 8 }
    expectSuccess(run)
    let rows = run.records(ofType: "benchmark").filter { $0["instructionsForEachOtherCPU"] != nil }
    func costs(_ name: String) throws -> (one: Int, all: Int) {
      let row = try #require(rows.first { $0["name"]?.string == name })
      return (try #require(row["instructionsOnOneCPU"]?.integer), try #require(row["instructions"]?.integer))
    }
    #expect(rows.count == 4)
    for name in ["look for a thread on all CPUs", "look whether all CPUs are quiet"] {
      let (one, all) = try costs(name)
      #expect(one > 0 && all > one && all < one + 7 * 60, "\(name): \(one), \(all)")
    }
    let bytes = run.records(ofType: "benchmark").compactMap { $0["bytesForEachCPU"]?.integer }
    #expect(bytes.count == 7 && bytes.allSatisfy { $0 >= 64 })
  }

  @Test(
    arguments: [1, 4],
    [
      "fragmented-fork", "fork-churn", "exhaustion", "recovery", "deep-recursion threads=200",
      "million-threads threads=4000", "pressure threads=300", "stack-depths", "overflow",
      "vmalloc-suite operations=50",
    ])
  func `After reclaim as many frames are free as before`(cpus: Int, scenario: String) async throws {
    let run = try await boot("scenario=\(scenario) strategy=growing") { $0.cpuCount = cpus }
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    let before = try #require(result["freeFramesBefore"]?.integer)
    #expect(before > 0 && result["freeFramesAfterReclaim"]?.integer == before)
    #expect(result["freeFramesEqual"]?.bool == true)
  }

  // With this seed and so many ticks, one CPU is preempted while it holds the only address that another asks for.
  @Test func `An address that one CPU holds is not due to another`() async throws {
    let run = try await boot("scenario=vmalloc-suite strategy=linear operations=50 seed=3") {
      $0.cpuCount = 4
      $0.instructionTimeShift = 5
    }
    expectSuccess(run)
  }

  @Test func `Areas of all CPUs keep what their owners wrote`() async throws {
    let run = try await boot("scenario=vmalloc-suite strategy=vmalloc operations=100") { $0.cpuCount = 4 }
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    #expect(result["cpus"]?.integer == 4)
    // A page allocated and freed in each round, on each CPU.
    #expect(result["workloads"]?["fixSize"]?["operations"]?.integer == 2 * 100 * 4)
    #expect(result["leakedFrames"]?.integer == 0)
  }
}
