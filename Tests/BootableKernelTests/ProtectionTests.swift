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

    @Test(arguments: [39, 48]) func kernelThreadThatRunsIntoItsGuardIsReported(addressBits: Int) async throws {
      let run = try await boot("scenario=self-test test=guard-thread strategy=vmalloc va-bits=\(addressBits)")
      #expect(run.exitCode == ExitCode.panic)
      expectOverflowReport(run, task: -2)
      #expect(errorMessage(run) == "panic: kernel stack overflow")
    }

    @Test func bootStackThatRunsIntoItsGuardIsReported() async throws {
      let run = try await boot("scenario=self-test test=guard-boot")
      #expect(run.exitCode == ExitCode.panic)
      expectOverflowReport(run, task: 0)
    }

    @Test(arguments: ["vmalloc", "growing"])
    func systemCallThatRunsIntoTheGuardEndsItsProcessAlone(strategy: String) async throws {
      let run = try await boot("scenario=self-test test=guard-system-call strategy=\(strategy)")
      expectSuccess(run)
      expectOverflowReport(run, task: 2)
    }

    // Task, bounds, address, instruction, and a backtrace with the repeated call.
    private func expectOverflowReport(_ run: GuestRun, task: Int) {
      let report = run.records(ofType: "overflow").first
      #expect(report?["task"]?.integer == task)
      #expect((1...4096).contains(report?["bytesBelow"]?.integer ?? 0))
      #expect(run.lines.contains("kernel stack overflow: task \(task)"))
      for label in ["  stack       0x", "  address     0x", "  instruction 0x", "  backtrace:"] {
        #expect(run.lines.contains { $0.hasPrefix(label) }, "\(label) is missing")
      }
      #expect(run.lines.filter { $0.hasPrefix("    0xffffff80") }.count > 8)
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
