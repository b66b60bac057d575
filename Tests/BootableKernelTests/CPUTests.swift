// Several CPUs: each with what is its own, locks, one report at the end, trees that cannot be run.

#if Tools
  import ImageTools
  import Testing

  @Suite struct SeveralCPUs {
    @Test(arguments: Guest.CPU.allCases, [1, 2, 4, 8])
    func everyCPUOfTheDeviceTreeRuns(cpu: Guest.CPU, count: Int) async throws {
      let run = try await boot("scenario=self-test test=cpus strategy=vmalloc") {
        $0.cpu = cpu
        $0.cpuCount = count
      }
      expectSuccess(run)
    }

    @Test(arguments: [39, 48], ["linear", "growing"])
    func everyCPURunsWithAnyAddressesAndStacks(addressBits: Int, strategy: String) async throws {
      let run = try await boot("scenario=self-test test=cpus strategy=\(strategy) va-bits=\(addressBits)") {
        $0.cpuCount = 3
        $0.numaNodeCount = 2
        $0.countsInstructions = false
      }
      expectSuccess(run)
    }

    @Test func everyCPUThatIsStartedAtEL2Runs() async throws {
      let run = try await boot("scenario=self-test test=cpus strategy=vmalloc") {
        $0.cpuCount = 4
        $0.extraArguments = ["-M", "virt,virtualization=on"]
      }
      expectSuccess(run)
    }

    @Test(arguments: Guest.CPU.allCases, [true, false])
    func locksKeepCPUsApart(cpu: Guest.CPU, countsInstructions: Bool) async throws {
      for count in [2, 8] {
        let run = try await boot("scenario=self-test test=lock-storm") {
          $0.cpu = cpu
          $0.cpuCount = count
          $0.countsInstructions = countsInstructions
        }
        expectSuccess(run)
      }
    }

    @Test(arguments: [2, 4, 8], [true, false])
    func panicOfOneCPUEndsAllWithOneReport(count: Int, countsInstructions: Bool) async throws {
      let run = try await boot("scenario=self-test test=panic-on-other-cpu") {
        $0.cpuCount = count
        $0.countsInstructions = countsInstructions
      }
      #expect(run.exitCode == ExitCode.panic)
      let report = try #require(run.lines.lastIndex { $0 == "panic: asked for" })
      #expect(run.lines.filter { $0.hasPrefix("panic: ") }.count == 1)
      #expect(run.lines[report + 1].contains("CPU \(count - 1),"))
      // Lines of all CPUs come whole, but perhaps for the one that the report breaks off, and after it there is none.
      #expect(run.lines.filter { $0.hasPrefix("{") }.count - run.records.count <= 1)
      #expect(!run.lines[report...].contains { $0.contains("a line of a CPU") })
    }
  }
#endif
