// Several CPUs: their own state, locks, one report at the end, and trees that cannot be run.

import Foundation
import ImageTools
import Testing

@Suite struct SeveralCPUs {
  @Test(arguments: Guest.CPU.allCases, [1, 4])
  func `Processes run on when ASIDs come to an end, on one CPU and on several`(cpu: Guest.CPU, count: Int)
    async throws
  {
    for bits in [5, 8] {
      let run = try await boot("scenario=self-test test=asid-rollover strategy=vmalloc asid-bits=\(bits)") {
        $0.cpu = cpu
        $0.cpuCount = count
        $0.countsInstructions = count == 1
      }
      expectSuccess(run)
    }
  }

  @Test(arguments: ["4", "17", "many", ""]) func `ASIDs that no CPU has are refused`(bits: String)
    async throws
  {
    let run = try await boot("scenario=isolation asid-bits=\(bits)")
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run) == "asid-bits is a number from 5 to what the CPU has")
  }

  @Test(arguments: Guest.CPU.allCases, [1, 2, 4, 8])
  func `Every CPU of the device tree runs`(cpu: Guest.CPU, count: Int) async throws {
    let run = try await boot("scenario=self-test test=cpus strategy=vmalloc") {
      $0.cpu = cpu
      $0.cpuCount = count
    }
    expectSuccess(run)
  }

  @Test(arguments: [39, 48], ["linear", "growing"])
  func `Every CPU runs with any addresses and stacks`(addressBits: Int, strategy: String) async throws {
    let run = try await boot("scenario=self-test test=cpus strategy=\(strategy) va-bits=\(addressBits)") {
      $0.cpuCount = 3
      $0.numaNodeCount = 2
      $0.countsInstructions = false
    }
    expectSuccess(run)
  }

  @Test func `Every CPU that is started at EL2 runs`() async throws {
    let run = try await boot("scenario=self-test test=cpus strategy=vmalloc") {
      $0.cpuCount = 4
      $0.extraArguments = ["-M", "virt,virtualization=on"]
    }
    expectSuccess(run)
  }

  @Test(arguments: Guest.CPU.allCases, [true, false])
  func `Locks keep CPUs apart`(cpu: Guest.CPU, countsInstructions: Bool) async throws {
    for count in [2, 8] {
      let run = try await boot("scenario=self-test test=lock-storm") {
        $0.cpu = cpu
        $0.cpuCount = count
        $0.countsInstructions = countsInstructions
      }
      expectSuccess(run)
    }
  }

  @Test func `Locks are taken by one instruction where the CPU has it`() async throws {
    for cpu in Guest.CPU.allCases {
      let kernel = try await KernelBuild.shared.products(for: cpu).elf
      let bytes = try Data(contentsOf: URL(fileURLWithPath: kernel))
      let swaps = bytes.withUnsafeBytes { bytes in
        // CASA with 64-bit registers; the text lies at multiples of four.
        (0..<bytes.count / 4).count {
          bytes.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self) & 0xffe0_fc00 == 0xc8e0_7c00
        }
      }
      #expect((swaps > 10) == (cpu == .max), "\(cpu): \(swaps)")
    }
  }

  @Test func `A kernel for newer CPUs says so on an older one`() async throws {
    let image = try await KernelBuild.shared.products(for: .max).image
    let run = try await boot("scenario=self-test test=lock-storm") { $0.kernel = image }
    #expect(errorMessage(run) == "this kernel needs CPUs with FEAT_LSE")
    #expect(run.exitCode == ExitCode.failure)
  }

  @Test(arguments: Guest.CPU.allCases, [1, 2, 8])
  func `Threads run on all CPUs and move between them`(cpu: Guest.CPU, count: Int) async throws {
    for strategy in ["growing", "linear"] {
      let run = try await boot("scenario=self-test test=threads-on-cpus strategy=\(strategy)") {
        $0.cpu = cpu
        $0.cpuCount = count
        $0.countsInstructions = strategy == "linear"
      }
      expectSuccess(run)
    }
  }

  @Test(arguments: [1, 2, 8], [true, false])
  func `Wake-ups reach threads on other CPUs`(count: Int, countsInstructions: Bool) async throws {
    let run = try await boot("scenario=self-test test=wake-ups strategy=vmalloc") {
      $0.cpuCount = count
      $0.countsInstructions = countsInstructions
    }
    expectSuccess(run)
  }

  @Test(arguments: ["linear", "vmalloc", "growing"], [1, 2, 4])
  func `CPUs go offline and come back while threads run`(strategy: String, count: Int) async throws {
    let run = try await boot("scenario=self-test test=cpus-come-and-go strategy=\(strategy)") {
      $0.cpuCount = count
      $0.cpu = count == 2 ? .max : .cortexA72
      $0.countsInstructions = false
    }
    expectSuccess(run)
  }

  @Test(arguments: [2, 4]) func `A CPU answers calls before it goes offline`(count: Int) async throws {
    let run = try await boot("scenario=self-test test=calls-before-departures strategy=vmalloc") {
      $0.cpuCount = count
      $0.countsInstructions = false
    }
    expectSuccess(run)
  }

  @Test(arguments: [1, 2, 4]) func `Idle CPUs hear of work whenever it comes`(count: Int) async throws {
    let run = try await boot("scenario=self-test test=idle-work strategy=vmalloc") {
      $0.cpuCount = count
      $0.countsInstructions = false
    }
    expectSuccess(run)
  }

  @Test(arguments: Guest.CPU.allCases, ["vmalloc", "growing"])
  func `What one CPU unmaps no other sees`(cpu: Guest.CPU, strategy: String) async throws {
    let run = try await boot("scenario=self-test test=translations strategy=\(strategy)") {
      $0.cpuCount = 2
      $0.cpu = cpu
      $0.countsInstructions = false
    }
    expectSuccess(run)
  }

  @Test(arguments: ["linear", "vmalloc", "growing"], [true, false])
  func `Processes fork and end on four CPUs`(strategy: String, countsInstructions: Bool) async throws {
    let run = try await boot("scenario=fork-churn strategy=\(strategy)") {
      $0.cpuCount = 4
      $0.cpu = countsInstructions ? .cortexA72 : .max
      $0.countsInstructions = countsInstructions
    }
    expectSuccess(run)
    #expect(run.records(ofType: "result").first?["leakedFrames"]?.integer == 0)
  }

  @Test(
    arguments: ["linear", "vmalloc", "growing"], ["fragmented-fork", "exhaustion", "isolation"])
  func `Scenario holds its checks on four CPUs`(strategy: String, scenario: String) async throws {
    let run = try await boot("scenario=\(scenario) strategy=\(strategy)") {
      $0.cpuCount = 4
      $0.countsInstructions = false
    }
    expectSuccess(run)
    #expect(run.records(ofType: "result").first?["leakedFrames"]?.integer == 0)
  }

  @Test(arguments: [2, 4, 8], [true, false])
  func `Panic of one CPU ends all with one report`(count: Int, countsInstructions: Bool) async throws {
    let run = try await boot("scenario=self-test test=panic-on-other-cpu") {
      $0.cpuCount = count
      $0.countsInstructions = countsInstructions
    }
    #expect(run.exitCode == ExitCode.panic)
    let report = try #require(run.lines.lastIndex { $0 == "panic: asked for" })
    #expect(run.lines.filter { $0.hasPrefix("panic: ") }.count == 1)
    #expect(run.lines[report + 1].contains("CPU \(count - 1),"))
    // Lines of all CPUs are whole, except perhaps the one that the report interrupts, and no line follows the report.
    #expect(run.lines.filter { $0.hasPrefix("{") }.count - run.records.count <= 1)
    #expect(!run.lines[report...].contains { $0.contains("a line of a CPU") })
  }
}
