// Failures of the kernel: a clear line and a failing exit code, never a hang.

import Foundation
import ImageTools
import Testing

@Suite struct KernelFailure {
  @Test func `Unknown scenario is refused with the list`() async throws {
    let run = try await boot("scenario=no-such-thing")
    #expect(run.exitCode == ExitCode.failure)
    let message = try #require(errorMessage(run))
    #expect(message.contains("there is no scenario no-such-thing"))
    #expect(message.contains("fragmented-fork"))
  }

  @Test(arguments: [
    "strategy=none", "va-bits=40", "stack-size=10000", "stack-size=0", "colour=red", "scenario", "seed=many",
    "largest-free-order=9", "scenario=self-test", "scenario=self-test test=none",
    "scenario=fork-churn stack-size=20480 strategy=linear",
  ])
  func `Bad option is refused`(commandLine: String) async throws {
    let run = try await boot(commandLine)
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run) != nil)
  }

  @Test func `Overlong command line is refused`() async throws {
    let run = try await boot(String(repeating: "seed=1 ", count: 200))
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run)?.contains("command line") == true)
  }

  @Test func `Missing program is reported`() async throws {
    let run = try await boot("scenario=isolation") { $0.initialRAMDisk = nil }
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run)?.hasPrefix("EL0 program") == true)
  }

  @Test func `Program that is no program is refused`() async throws {
    let run = try await boot("scenario=isolation") { $0.initialRAMDisk = $0.kernel }
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run)?.contains("no arm64 ELF program") == true)
  }

  // Its memory would be handed out again while it runs.
  @Test(arguments: [1, 2]) func `A first process that leaves a child running ends the kernel`(cpus: Int)
    async throws
  {
    let run = try await boot("scenario=self-test test=leave-child strategy=growing") { $0.cpuCount = cpus }
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run) == "the first process has ended while another can run")
  }

  @Test func `Panic prints state and fails`() async throws {
    let run = try await boot("scenario=self-test test=panic")
    #expect(run.exitCode == ExitCode.panic)
    #expect(errorMessage(run) == "panic: asked for")
    for register in ["TTBR0_EL1", "TTBR1_EL1", "TCR_EL1", "SCTLR_EL1"] {
      #expect(run.lines.contains { $0.contains(register) })
    }
  }

  @Test func `Exception in a handler is reported on the emergency stack`() async throws {
    let run = try await boot("scenario=self-test test=handler-fault")
    #expect(run.exitCode == ExitCode.panic)
    #expect(run.lines.contains("exception in an exception handler: data abort"))
  }

  @Test func `Reports end whatever addresses and registers they are about`() async throws {
    let handler = try await boot("scenario=self-test test=handler-fault-at-top")
    #expect(handler.exitCode == ExitCode.panic)
    #expect(errorMessage(handler) == "panic: exception in an exception handler")
    let thread = try await boot("scenario=self-test test=frame-pointer-at-top")
    #expect(thread.exitCode == ExitCode.panic)
    #expect(errorMessage(thread) == "panic: unhandled exception of thread code")
    #expect(thread.lines.contains { $0.hasPrefix("  backtrace:") })
  }

  // With ticks all the time: in the second case they wake a CPU that would sleep without them.
  @Test(arguments: [true, false]) func `Hung guest is a failure`(countsInstructions: Bool) async throws {
    let error = await #expect(throws: GuestError.self) {
      try await boot("scenario=self-test test=hang") {
        $0.countsInstructions = countsInstructions
        $0.limits.silence = .seconds(3)
        $0.limits.looksAsleep = 5
      }
    }
    guard case .hung = error else { throw try #require(error) }
  }

  @Test func `Too little memory is reported`() async throws {
    let run = try await boot("scenario=isolation") { $0.memoryByteCount = 2 << 20 }
    #expect(run.exitCode != ExitCode.success)
  }
}
