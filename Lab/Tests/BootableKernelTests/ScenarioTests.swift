// Every scenario, run as a user does, on the real machine.

import ImageTools
import Testing

@Suite struct ScenariosOnTheKernel {
  @Test(arguments: [0, 1]) func `Contiguous stacks fork not once in fragmented memory`(largestFreeOrder: Int)
    async throws
  {
    let run = try await boot(
      "scenario=fragmented-fork strategy=linear largest-free-order=\(largestFreeOrder)")
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    #expect(result["forksSucceeded"]?.integer == 0)
    #expect(result["leakedFrames"]?.integer == 0)
    #expect(try #require(result["freeBytesBefore"]?.integer) > 48 << 20)
    #expect(try #require(result["firstFailure"]?.string).hasPrefix("order 2 for a thread stack refused"))
  }

  @Test(arguments: [0, 1]) func `Vmalloc stacks use all fragmented memory`(largestFreeOrder: Int) async throws {
    let run = try await boot(
      "scenario=fragmented-fork strategy=vmalloc largest-free-order=\(largestFreeOrder)")
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    let framesPerFork = try #require(result["framesPerFork"]?.integer)
    #expect(try #require(result["forksSucceeded"]?.integer) > 1000)
    #expect(try #require(result["freeBytesAtFailure"]?.integer) < framesPerFork * 4096)
    #expect(result["leakedFrames"]?.integer == 0)
    #expect(try #require(result["firstFailure"]?.string).hasPrefix("order 0 for "))
  }

  @Test(arguments: [64, 512]) func `Vmalloc stacks use all memory of any size`(mebibytes: Int) async throws {
    let run = try await boot("scenario=fragmented-fork strategy=vmalloc seed=\(mebibytes)") {
      $0.memoryByteCount = mebibytes << 20
    }
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    #expect(try #require(result["forksSucceeded"]?.integer) > mebibytes * 8)
    let framesPerFork = try #require(result["framesPerFork"]?.integer)
    #expect(try #require(result["freeBytesAtFailure"]?.integer) < framesPerFork * 4096)
    #expect(result["leakedFrames"]?.integer == 0)
  }

  @Test(
    arguments: ["linear", "vmalloc", "growing"],
    ["fork-churn", "exhaustion", "recovery", "isolation", "kernel-memory"])
  func `Scenario holds its checks`(strategy: String, scenario: String) async throws {
    let run = try await boot("scenario=\(scenario) strategy=\(strategy)")
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    #expect(result["machine"]?.string == "qemu")
    #expect(result["strategy"]?.string == strategy)
    #expect(result["leakedFrames"]?.integer == 0)
  }

  @Test(arguments: Guest.CPU.allCases, [39, 48])
  func `No free of a small area pays for others`(cpu: Guest.CPU, addressBits: Int) async throws {
    let run = try await boot("scenario=vmalloc-suite strategy=vmalloc operations=300 va-bits=\(addressBits)") {
      $0.cpu = cpu
    }
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    let worst = try #require(result["worstSmallFree"]?.integer)
    #expect(worst > 0 && worst <= 5000)
    #expect(result["leakedFrames"]?.integer == 0)
  }

  @Test(arguments: Guest.CPU.allCases, [39, 48])
  func `Scenario holds on every CPU and address space`(cpu: Guest.CPU, addressBits: Int) async throws {
    for scenario in ["fork-churn", "fragmented-fork"] {
      let run = try await boot("scenario=\(scenario) strategy=vmalloc va-bits=\(addressBits) seed=3") {
        $0.cpu = cpu
        $0.memoryByteCount = 64 << 20
      }
      expectSuccess(run)
      #expect(run.records(ofType: "result").first?["addressBits"]?.integer == addressBits)
    }
  }

  @Test(arguments: [8192, 12288, 20480, 24576]) func `Stacks of every size work`(byteCount: Int) async throws {
    let run = try await boot("scenario=fork-churn strategy=vmalloc stack-size=\(byteCount) operations=300")
    expectSuccess(run)
  }

  @Test func `Kernel that is started at EL2 works`() async throws {
    let run = try await boot("scenario=isolation strategy=vmalloc") {
      $0.extraArguments = ["-M", "virt,virtualization=on"]
    }
    expectSuccess(run)
  }

  // Where an instruction takes 32 ns, 32 times as many ticks come: some invalidations are caused by them, and count apart.
  @Test(arguments: [1, 4], [3, 5])
  func `How many frees an invalidation serves does not depend on the clock`(cpus: Int, seed: Int) async throws {
    let run = try await boot("scenario=fork-churn strategy=growing depths=full operations=3000 seed=\(seed)") {
      $0.cpuCount = cpus
      $0.instructionTimeShift = 5
    }
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    let all = try #require(result["tlbInvalidations"]?.integer)
    let clocks = try #require(result["agingInvalidations"]?.integer)
    #expect(clocks > 0 && clocks < all)
  }

  @Test(arguments: [1, 4], [0, 5])
  func `Memory is used up again however many ticks come`(cpus: Int, shift: Int) async throws {
    let run = try await boot("scenario=recovery strategy=growing depths=full seed=3") {
      $0.cpuCount = cpus
      $0.instructionTimeShift = shift
    }
    expectSuccess(run)
  }

  @Test func `The same seed gives the same result`() async throws {
    let first = try await boot("scenario=fork-churn strategy=vmalloc seed=11 operations=300")
    let second = try await boot("scenario=fork-churn strategy=vmalloc seed=11 operations=300")
    #expect(first.lines == second.lines)
  }
}
