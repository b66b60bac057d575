// Overflows and corrupted stack pointers: the task or kernel that ends, and the report.

import ImageTools
import Testing

@Suite struct StackOverflows {
  @Test(arguments: ["vmalloc", "growing"], [39, 48])
  func `Thread that runs into its guard ends alone`(strategy: String, addressBits: Int) async throws {
    let run = try await boot(
      "scenario=self-test test=guard-thread strategy=\(strategy) va-bits=\(addressBits)")
    expectSuccess(run)
    expectOverflowReport(run, task: -2, foundAt: "access", taskDies: true)
  }

  @Test(arguments: ["vmalloc", "growing"])
  func `System call that runs into the guard ends its process alone`(strategy: String) async throws {
    let run = try await boot("scenario=self-test test=guard-system-call strategy=\(strategy)")
    expectSuccess(run)
    expectOverflowReport(run, task: 2, foundAt: "access", taskDies: true)
  }

  // A frame larger than the rest of the stack moves the stack pointer first; an interrupt may come before the first store.
  @Test(arguments: ["vmalloc", "growing"], ["call", "interrupt", "access"])
  func `Stack pointer in its own guard is an overflow`(strategy: String, moment: String) async throws {
    let run = try await boot(
      "scenario=self-test test=stack-pointer value=own-guard at=\(moment) strategy=\(strategy)")
    expectSuccess(run)
    let report = try #require(run.records(ofType: "overflow").first)
    #expect(report["foundAt"]?.string == (moment == "call" ? "exception" : moment))
    #expect(report["taskDies"]?.bool == true)
  }

  @Test(arguments: ["vmalloc", "growing"])
  func `Overflow with a lock held is reported and ends the kernel`(strategy: String) async throws {
    let run = try await boot("scenario=self-test test=overflow-with-lock strategy=\(strategy)")
    #expect(run.exitCode == ExitCode.panic)
    expectOverflowReport(run, task: -2, foundAt: "access", taskDies: false)
    #expect(errorMessage(run) == "panic: kernel stack overflow with interrupts off: locks may be held")
  }

  @Test(arguments: ["vmalloc", "growing"])
  func `Overflow inside the allocator is reported and ends the kernel`(strategy: String) async throws {
    let run = try await boot("scenario=self-test test=overflow-in-allocator strategy=\(strategy)")
    #expect(run.exitCode == ExitCode.panic)
    expectOverflowReport(run, task: -2, foundAt: "access", taskDies: false)
    #expect(errorMessage(run) == "panic: kernel stack overflow inside the allocator")
  }

  @Test(arguments: ["linear", "vmalloc", "growing"])
  func `Boot stack that runs into its guard ends the kernel`(strategy: String) async throws {
    let run = try await boot("scenario=self-test test=guard-boot strategy=\(strategy)")
    #expect(run.exitCode == ExitCode.panic)
    expectOverflowReport(run, task: 0, foundAt: "access", taskDies: false)
  }

  @Test func `Damaged end of a linear stack is found at the switch`() async throws {
    let run = try await boot("scenario=self-test test=late-overflow strategy=linear")
    #expect(run.exitCode == ExitCode.panic)
    let report = try #require(run.records(ofType: "overflow").first)
    #expect(report["task"]?.integer == -2)
    #expect(report["foundAt"]?.string == "switch out")
    #expect(errorMessage(run) == late)
  }

  @Test(arguments: [("call", "exception"), ("interrupt", "interrupt"), ("access", "interrupt")])
  func `Linear stack that has been left is found at the next exception`(moment: String, foundAt: String)
    async throws
  {
    let run = try await boot(
      "scenario=self-test test=stack-pointer value=own-guard at=\(moment) strategy=linear")
    #expect(run.exitCode == ExitCode.panic)
    #expect(run.records(ofType: "overflow").first?["foundAt"]?.string == foundAt)
    #expect(errorMessage(run) == late)
  }

  // Processes and threads of the kernel, with memory that only the registry of their task knows of.
  @Test(arguments: ["vmalloc", "growing"], [1, 2, 3])
  func `Tasks that overflow die and all others go on`(strategy: String, seed: Int) async throws {
    let run = try await boot("scenario=overflow strategy=\(strategy) seed=\(seed) threads=40")
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    let overflowed = try #require(result["overflowed"]?.integer)
    #expect(overflowed >= 2)
    #expect(result["died"]?.integer == overflowed)
    #expect(result["survived"]?.integer == 80 - overflowed)
    #expect(result["leakedFrames"]?.integer == 0)
    #expect(run.records(ofType: "overflow").count == overflowed)
    #expect(run.records(ofType: "overflow").allSatisfy { $0["taskDies"]?.bool == true })
  }

  @Test(arguments: [1, 2]) func `Linear stacks end the kernel at the first overflow that is found`(seed: Int)
    async throws
  {
    let run = try await boot("scenario=overflow strategy=linear seed=\(seed)")
    #expect(run.exitCode == ExitCode.panic)
    let result = try #require(run.records(ofType: "result").first)
    #expect(result["kernelEnd"]?.string == "panic")
    #expect(result["overflowed"]?.integer == 1)
    #expect(run.records(ofType: "overflow").map { $0["foundAt"]?.string } == ["switch out"])
    #expect(errorMessage(run) == late)
  }

  private var late: String {
    "panic: kernel stack overflow, found late: memory below the stack may be damaged"
  }

  // Task, bounds, address, instruction, and a backtrace with the repeated call.
  private func expectOverflowReport(_ run: GuestRun, task: Int, foundAt: String, taskDies: Bool) {
    let report = run.records(ofType: "overflow").first
    #expect(run.records(ofType: "overflow").count == 1)
    #expect(report?["task"]?.integer == task)
    #expect((1...4096).contains(report?["bytesBelow"]?.integer ?? 0))
    #expect(report?["foundAt"]?.string == foundAt)
    #expect(report?["taskDies"]?.bool == taskDies)
    #expect(run.lines.contains("kernel stack overflow: task \(task), found at \(foundAt)"))
    for label in ["  stack       0x", "  address     0x", "  instruction 0x", "  backtrace:"] {
      #expect(run.lines.contains { $0.hasPrefix(label) }, "\(label) is missing")
    }
    #expect(run.lines.filter { $0.hasPrefix("    0xffffff80") }.count > 8)
  }
}

@Suite struct CorruptedStackPointers {
  // The value, its name, the task whose stack it is.
  static let growing: [(String, String, Int?)] = [
    ("null", "null", nil), ("unaligned", "unaligned", nil), ("outside", "outside", nil),
    ("other-slot", "other stack", -3), ("other-guard", "other guard", -3),
    ("unused-slot", "unused slot", nil),
    ("boot-stack", "boot stack", 0), ("above", "above own stack", nil),
  ]

  @Test(arguments: growing, [("call", "exception"), ("interrupt", "interrupt"), ("switch", "switch in")])
  func `Stack pointer is reported as what it is`(
    value: (String, String, Int?), moment: (String, String)
  ) async throws {
    try await expectReport("growing", value, moment)
  }

  @Test(arguments: [
    ("null", "null", nil), ("other-slot", "other stack", -3), ("unaligned", "unaligned", nil),
  ])
  func `Stack pointer of a vmalloc stack is reported`(value: (String, String, Int?)) async throws {
    try await expectReport("vmalloc", value, ("interrupt", "interrupt"))
    try await expectReport("vmalloc", value, ("switch", "switch in"))
  }

  // Without slots, the memory that was handed out as a stack names its owner.
  @Test(arguments: [
    ("null", "null", nil), ("other-slot", "other stack", -3), ("unaligned", "unaligned", nil),
    ("outside", "outside", nil), ("boot-stack", "boot stack", 0),
  ])
  func `Stack pointer of a linear stack is reported`(value: (String, String, Int?)) async throws {
    try await expectReport("linear", value, ("interrupt", "interrupt"))
    try await expectReport("linear", value, ("switch", "switch in"))
  }

  @Test(arguments: [("null", "null", nil), ("other-guard", "other guard", -3), ("outside", "outside", nil)])
  func `Store through a stack pointer that faults is reported`(value: (String, String, Int?)) async throws {
    try await expectReport("growing", value, ("access", "exception"))
  }

  @Test(arguments: ["linear", "vmalloc", "growing"]) func `Alignment fault is reported`(strategy: String)
    async throws
  {
    let run = try await boot("scenario=self-test test=alignment-fault strategy=\(strategy)")
    #expect(run.exitCode == ExitCode.panic)
    #expect(run.records(ofType: "stackPointer").first?["is"]?.string == "unaligned")
    #expect(errorMessage(run) == "panic: corrupted stack pointer")
  }

  @Test(arguments: [
    (
      "outside", "0x00000000dead0000",
      "panic: the exception stack pointer is not on the CPU's exception stack"
    ),
    ("exhausted", "0xffffff", "panic: exception stack overflow"),
  ])
  func `Unusable exception stack is reported on the emergency stack`(
    value: String, stackPointer: String, message: String
  ) async throws {
    let run = try await boot("scenario=self-test test=exception-stack value=\(value) strategy=vmalloc")
    #expect(run.exitCode == ExitCode.panic)
    #expect(run.lines.contains { $0.hasPrefix("  SP          \(stackPointer)") })
    #expect(errorMessage(run) == message)
  }

  private func expectReport(
    _ strategy: String, _ value: (String, String, Int?), _ moment: (String, String),
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let run = try await boot(
      "scenario=self-test test=stack-pointer value=\(value.0) at=\(moment.0) strategy=\(strategy)")
    #expect(run.exitCode == ExitCode.panic, sourceLocation: sourceLocation)
    let reports = run.records(ofType: "stackPointer")
    #expect(reports.count == 1, sourceLocation: sourceLocation)
    #expect(reports.first?["task"]?.integer == -2, sourceLocation: sourceLocation)
    #expect(reports.first?["is"]?.string == value.1, sourceLocation: sourceLocation)
    #expect(reports.first?["foundAt"]?.string == moment.1, sourceLocation: sourceLocation)
    #expect(reports.first?["stackOfTask"]?.integer == value.2, sourceLocation: sourceLocation)
    for label in ["  SP          0x", "  own stack   0x", "  instruction 0x", "  backtrace:"] {
      #expect(
        run.lines.contains { $0.hasPrefix(label) }, "\(label) is missing", sourceLocation: sourceLocation)
    }
    #expect(errorMessage(run) == "panic: corrupted stack pointer", sourceLocation: sourceLocation)
  }
}
