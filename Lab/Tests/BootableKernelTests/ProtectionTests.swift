// Tests that need a real machine: permissions, guards, preemption, look-ups.

import ImageTools
import Testing

@Suite struct KernelProtection {
  @Test(arguments: Guest.CPU.allCases, [39, 48])
  func `Nothing is both writable and executable`(cpu: Guest.CPU, addressBits: Int) async throws {
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

  @Test(arguments: [39, 48]) func `Vmalloc areas end in guards`(addressBits: Int) async throws {
    let run = try await boot("scenario=self-test test=vmalloc strategy=vmalloc va-bits=\(addressBits)")
    expectSuccess(run)
    // The listing names the caller of each area.
    for caller in ["stack arena stacks", "process table", "exception stack", "self-test"] {
      #expect(
        run.lines.contains { $0.hasPrefix("0xffff") && $0.contains(caller) }, "\(caller) is not listed")
    }
  }

  @Test(arguments: ["linear", "vmalloc", "growing"]) func `Stack pointers lead to tasks and frames`(
    strategy: String
  )
    async throws
  {
    expectSuccess(try await boot("scenario=self-test test=lookup strategy=\(strategy)"))
  }

  @Test(arguments: ["linear", "vmalloc", "growing"]) func `Preemption disturbs no thread`(strategy: String)
    async throws
  {
    expectSuccess(try await boot("scenario=self-test test=preemption strategy=\(strategy)"))
  }

  @Test func `Blocks of bytes are copied, filled and compared`() async throws {
    expectSuccess(try await boot("scenario=self-test test=memory-routines"))
  }

  @Test func `Process writes to the console`() async throws {
    let run = try await boot("scenario=self-test test=write")
    expectSuccess(run)
    #expect(run.lines.contains("a line from the first process, which has no privileges but its system calls"))
  }

  @Test(arguments: [1, 4])
  func `Lines that processes write at the same time come out whole`(count: Int) async throws {
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

  @Test(arguments: [1, 4])
  func `No process finds in its registers what another, or the kernel, has left there`(count: Int) async throws
  {
    for countsInstructions in [true, false] {
      let run = try await boot("scenario=self-test test=thread-pointers strategy=vmalloc") {
        $0.cpuCount = count
        $0.countsInstructions = countsInstructions
      }
      expectSuccess(run)
    }
  }

  @Test(
    arguments: Guest.CPU.allCases,
    [1, 2])
  func `A process that touches what it has no right to is ended, on every CPU`(cpu: Guest.CPU, count: Int)
    async throws
  {
    let run = try await boot("scenario=self-test test=forbidden strategy=vmalloc") {
      $0.cpu = cpu
      $0.cpuCount = count
    }
    expectSuccess(run)
  }

  @Test
  func `A thread finds all that it wrote below its stack pointer, although ready threads lose dead pages`()
    async throws
  {
    expectSuccess(try await boot("scenario=self-test test=proofs-under-pressure strategy=growing"))
  }

  @Test func `Stacks come from the other node when one is empty`() async throws {
    let run = try await boot("scenario=self-test test=nodes strategy=vmalloc") { $0.numaNodeCount = 2 }
    expectSuccess(run)
  }

  @Test func `Fork uses both nodes`() async throws {
    let run = try await boot("scenario=fragmented-fork strategy=vmalloc") { $0.numaNodeCount = 2 }
    expectSuccess(run)
  }
}
