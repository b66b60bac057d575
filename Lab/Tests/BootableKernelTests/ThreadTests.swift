// Threads of the kernel on a real machine: many, deep, and none lost.

import ImageTools
import Testing

@Suite struct KernelThreads {
  @Test(arguments: ["linear", "vmalloc", "growing"], [1, 2, 3])
  func `Threads find every frame on the way back`(strategy: String, seed: Int) async throws {
    let run = try await boot("scenario=deep-recursion strategy=\(strategy) threads=400 seed=\(seed)")
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    #expect(result["threadsIntact"]?.integer == 400)
    #expect(result["leakedFrames"]?.integer == 0)
  }

  @Test(arguments: Guest.CPU.allCases, [8192, 24576])
  func `Threads go down stacks of other sizes`(cpu: Guest.CPU, byteCount: Int) async throws {
    let run = try await boot(
      "scenario=deep-recursion strategy=growing threads=200 stack-size=\(byteCount) va-bits=48"
    ) { $0.cpu = cpu }
    expectSuccess(run)
  }

  @Test func `Thousands of threads live together, and the last costs what the first did`() async throws {
    let run = try await boot("scenario=million-threads strategy=growing threads=12000")
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    #expect(result["threadsIntact"]?.integer == 16096)
    #expect(try #require(result["bytesPerThread"]?.integer) <= 5120)
    let few = try #require(result["instructionsPerThreadAtFew"]?.integer)
    #expect((500...1500).contains(few))
  }

  @Test(arguments: ["linear", "vmalloc", "growing"])
  func `High-water marks are listed while threads live`(strategy: String) async throws {
    let run = try await boot("scenario=stack-depths strategy=\(strategy) threads=150")
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    let marks = run.records(ofType: "stack").compactMap { $0["highWaterBytes"]?.integer }
    #expect(marks.count == 150)
    #expect(result["deepestBytes"]?.integer == marks.max())
    #expect(result["highWaterHistogram"]?.array?.compactMap(\.integer).reduce(0, +) == 150)
  }

  @Test func `More threads than memory holds are an error with figures`() async throws {
    let run = try await boot("scenario=deep-recursion strategy=growing threads=100000")
    #expect(run.exitCode == ExitCode.failure)
    #expect(try #require(errorMessage(run)).contains("refused: 0 bytes free"))
  }
}
