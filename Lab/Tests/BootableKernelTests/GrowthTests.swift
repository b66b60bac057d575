// Stacks that grow on a real machine: faults, their cost, the end of memory, and the stall.

import ImageTools
import Testing

@Suite struct GrowingStacks {
  @Test(arguments: Guest.CPU.allCases, ["growing", "vmalloc"])
  func `Threads find what they left across growth and preemption`(cpu: Guest.CPU, strategy: String) async throws
  {
    let run = try await boot("scenario=self-test test=growth strategy=\(strategy)") { $0.cpu = cpu }
    expectSuccess(run)
  }

  @Test(
    arguments: Guest.CPU.allCases,
    ["vmalloc", "growing"])
  func `An access is repeated whose fault is over when the handler looks`(cpu: Guest.CPU, strategy: String)
    async throws
  {
    let run = try await boot("scenario=self-test test=faults-that-are-over strategy=\(strategy)") {
      $0.cpu = cpu
    }
    expectSuccess(run)
  }

  @Test(arguments: [
    ("deep-recursion threads=200", 1), ("deep-recursion threads=200", 4), ("pressure threads=100", 1),
    ("exhaustion", 1), ("overflow", 2), ("fork-churn operations=500 depths=full", 4),
    ("smp-storm operations=20000", 4),
  ])
  func `Every workload runs with pages that are lent, without a stack fault`(words: String, count: Int)
    async throws
  {
    let run = try await boot("scenario=\(words) strategy=growing growth=lent") {
      $0.cpu = .max
      $0.cpuCount = count
    }
    expectSuccess(run)
  }

  @Test func `A CPU that sets no access flags refuses to lend`() async throws {
    let run = try await boot("scenario=fork-churn strategy=growing growth=lent")
    #expect(errorMessage(run)?.contains("growth=lent needs CPUs with FEAT_HAFDBS and FEAT_LSE") == true)
  }

  @Test(arguments: ["linear", "vmalloc", "growing"])
  func `Ensured sections take no fault and keep their pages`(strategy: String) async throws {
    expectSuccess(try await boot("scenario=self-test test=ensured strategy=\(strategy)"))
  }

  @Test(arguments: [1, 2, 4, 8], [true, false])
  func `Stall is reported once with who waits for how much`(count: Int, countsInstructions: Bool) async throws {
    let run = try await boot("scenario=self-test test=stall strategy=growing") {
      $0.cpuCount = count
      $0.countsInstructions = countsInstructions
    }
    #expect(run.exitCode == ExitCode.panic)
    #expect(run.lines.filter { $0.hasPrefix("stall: ") }.count == 1)
    // The last finds 2 frames. The ticks decide which thread that is.
    #expect(run.lines.filter { $0.hasPrefix("  task -") && $0.hasSuffix(" waits for 3 frames") }.count == 1)
    #expect(errorMessage(run) == "panic: no task can run, and no memory can be given back")
  }

  @Test(arguments: ["typical", "full"], [1, 2, 3])
  func `Growing stacks use all fragmented memory`(depths: String, seed: Int) async throws {
    let run = try await boot("scenario=fragmented-fork strategy=growing depths=\(depths) seed=\(seed)")
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    #expect(result["leakedFrames"]?.integer == 0)
    // With 9 frames for a fork, and 6 or 7 for one in its first page.
    let forks = try #require(result["forksSucceeded"]?.integer)
    #expect(depths == "full" ? (1600...1900).contains(forks) : forks > 2300)
  }

  @Test(arguments: [39, 48], [8192, 12288, 24576])
  func `Growing stacks of every size work`(addressBits: Int, byteCount: Int) async throws {
    let run = try await boot(
      "scenario=fork-churn strategy=growing stack-size=\(byteCount) va-bits=\(addressBits) operations=300")
    expectSuccess(run)
  }

  @Test func `Growth and the check at switch in keep to their limits`() async throws {
    let run = try await boot("scenario=bench strategy=growing")
    expectSuccess(run)
    for (name, limit) in [
      ("growth fault, store included, worst", 150), ("switch-in check, reserve full", 10),
    ] {
      let row = run.records(ofType: "benchmark").first { $0["name"]?.string == name }
      #expect(try #require(row?["instructions"]?.integer) <= limit)
      #expect(row?["tlbInvalidations"]?.integer == 0)
    }
  }
}
