// What only a real machine can show: permissions, guards, preemption, lookups.

#if Tools
  import ImageTools
  import Testing

  @Suite struct KernelProtection {
    @Test(arguments: Guest.CPU.allCases, [39, 48])
    func nothingIsBothWritableAndExecutable(cpu: Guest.CPU, addressBits: Int) async throws {
      let run = try await boot("scenario=self-test test=w-xor-x va-bits=\(addressBits)") { $0.cpu = cpu }
      expectSuccess(run)
    }

    @Test(arguments: [39, 48]) func vmallocAreasEndInGuards(addressBits: Int) async throws {
      let run = try await boot("scenario=self-test test=vmalloc strategy=vmalloc va-bits=\(addressBits)")
      expectSuccess(run)
      // The listing names who asked for each area.
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

    @Test func stacksComeFromTheOtherNodeWhenOneIsEmpty() async throws {
      let run = try await boot("scenario=self-test test=nodes strategy=vmalloc") { $0.numaNodeCount = 2 }
      expectSuccess(run)
    }

    @Test func forkUsesBothNodes() async throws {
      let run = try await boot("scenario=fragmented-fork strategy=vmalloc") { $0.numaNodeCount = 2 }
      expectSuccess(run)
    }
  }
#endif
