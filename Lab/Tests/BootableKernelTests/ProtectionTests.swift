// Tests that need a real machine: permissions, guards, preemption, look-ups.

import ImageTools
import Testing

@Suite struct KernelProtection {
  @Test(arguments: Guest.CPU.allCases, [39, 48])
  func nothingIsBothWritableAndExecutable(cpu: Guest.CPU, addressBits: Int) async throws {
    let run = try await boot("scenario=self-test test=w-xor-x va-bits=\(addressBits)") { $0.cpu = cpu }
    expectSuccess(run)
  }

  @Test(arguments: [39, 48]) func `All RAM is mapped and nothing else, early and late`(addressBits: Int)
    async throws
  {
    expectSuccess(try await boot("scenario=self-test test=address-space va-bits=\(addressBits)"))
    expectSuccess(
      try await boot("scenario=self-test test=address-space va-bits=\(addressBits)") {
        $0.cpuCount = 2
        $0.numaNodeCount = 2
      })
  }

  @Test(arguments: [39, 48]) func vmallocAreasEndInGuards(addressBits: Int) async throws {
    let run = try await boot("scenario=self-test test=vmalloc strategy=vmalloc va-bits=\(addressBits)")
    expectSuccess(run)
    // The listing names the caller of each area.
    for caller in ["stack arena stacks", "process table", "exception stack", "self-test"] {
      #expect(
        run.lines.contains { $0.hasPrefix("0xffff") && $0.contains(caller) }, "\(caller) is not listed")
    }
  }

  @Test(arguments: ["linear", "vmalloc", "growing"]) func stackPointersLeadToTasksAndFrames(strategy: String)
    async throws
  {
    expectSuccess(try await boot("scenario=self-test test=lookup strategy=\(strategy)"))
  }

  @Test(arguments: ["linear", "vmalloc", "growing"]) func preemptionDisturbsNobody(strategy: String)
    async throws
  {
    expectSuccess(try await boot("scenario=self-test test=preemption strategy=\(strategy)"))
  }

  @Test func blocksOfBytesAreCopiedFilledAndCompared() async throws {
    expectSuccess(try await boot("scenario=self-test test=memory-routines"))
  }

  @Test func processWritesToTheConsole() async throws {
    let run = try await boot("scenario=self-test test=write")
    expectSuccess(run)
    #expect(run.lines.contains("a line from the first process, which has no privileges but its system calls"))
  }

  @Test("Lines that processes write at the same time come out whole", arguments: [1, 4])
  func linesOfProcessesAreWhole(count: Int) async throws {
    let run = try await boot("scenario=self-test test=write-lines strategy=vmalloc") {
      $0.cpuCount = count
      $0.countsInstructions = false
    }
    expectSuccess(run)
    let single =
      "a line that is long enough for others to come in between if the kernel lets them do so: nothing but this line"
    #expect(run.lines.count { $0 == single } == 200)
    for number in ["first", "second", "third", "fourth"] {
      let line = "the \(number) of several lines that are written at once, more than a kernel takes at a time"
      #expect(run.lines.count { $0 == line } == 200, "\(number)")
    }
  }

  @Test("No process finds in its registers what another, or the kernel, has left there", arguments: [1, 4])
  func registersAreNoChannel(count: Int) async throws {
    for countsInstructions in [true, false] {
      let run = try await boot("scenario=self-test test=thread-pointers strategy=vmalloc") {
        $0.cpuCount = count
        $0.countsInstructions = countsInstructions
      }
      expectSuccess(run)
    }
  }

  @Test(
    "A process that touches what it has no right to is ended, on every CPU", arguments: Guest.CPU.allCases,
    [1, 2])
  func forbiddenRegistersEndProcesses(cpu: Guest.CPU, count: Int) async throws {
    let run = try await boot("scenario=self-test test=forbidden strategy=vmalloc") {
      $0.cpu = cpu
      $0.cpuCount = count
    }
    expectSuccess(run)
  }

  @Test(
    "A thread finds all that it wrote below its stack pointer, although threads that are ready lose their dead pages"
  )
  func proofsHoldUnderPressure() async throws {
    expectSuccess(try await boot("scenario=self-test test=proofs-under-pressure strategy=growing"))
  }

  @Test func stacksComeFromTheOtherNodeWhenOneIsEmpty() async throws {
    let run = try await boot("scenario=self-test test=nodes strategy=vmalloc") { $0.numaNodeCount = 2 }
    expectSuccess(run)
  }

  @Test func forkUsesBothNodes() async throws {
    let run = try await boot("scenario=fragmented-fork strategy=vmalloc") { $0.numaNodeCount = 2 }
    expectSuccess(run)
  }
}
