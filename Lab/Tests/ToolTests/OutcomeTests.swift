// A run succeeds only if the machine, its checks and its result say so.

import ImageTools
import Testing

@testable import kstacks

@Suite struct OutcomeTests {
  func outcome(_ lines: [String], exitCode: Int = 0) throws -> RunOutcome {
    let plan = try RunPlan(
      ["scenario=fragmented-fork", "strategy=vmalloc"], cpu: .cortexA72, silenceLimit: 1, machine: .qemu)
    return try RunOutcome(
      plan: plan, exitCode: exitCode, lines: lines, records: lines.compactMap { try? JSON(parsing: $0) })
  }

  func refusal(_ lines: [String], exitCode: Int = 0) -> String {
    do {
      return try outcome(lines, exitCode: exitCode).failure?.description ?? "no error"
    } catch {
      return "\(error)"
    }
  }

  static let result = #"{"type":"result","strategy":"vmalloc","leakedFrames":0}"#
  static let passed = #"{"type":"check","name":"nothing leaks","passed":true}"#

  @Test func `Panic is a success only if the result promises it`() throws {
    let promised = #"{"type":"result","strategy":"linear","kernelEnd":"panic","leakedFrames":null}"#
    let panic = #"{"type":"error","message":"panic: kernel stack overflow, found late"}"#
    #expect(try outcome([promised, panic], exitCode: 2).failure == nil)
    #expect(refusal([promised], exitCode: 0).contains("the kernel went on"))
    #expect(refusal([promised, panic], exitCode: 1).contains("the kernel went on"))
    #expect(refusal([Self.result, panic], exitCode: 2).contains("found late"))
  }

  @Test func `Result and checks make a good run`() throws {
    let good = try outcome(["booting", Self.passed, Self.result])
    #expect(good.result?["strategy"]?.string == "vmalloc")
    #expect(good.benchmarks.isEmpty)
    #expect(good.failure == nil)
  }

  @Test func `Measurements survive a check that did not hold`() throws {
    let row = #"{"type":"benchmark","name":"free","instructions":101}"#
    let failed = ["a", "b"].map { #"{"type":"check","name":"\#($0)","passed":false}"# }
    let outcome = try outcome([row] + failed, exitCode: 1)
    #expect(outcome.benchmarks.map { $0["instructions"]?.integer } == [101])
    #expect(
      outcome.failure?.description
        == "fragmented-fork with vmalloc stacks failed: these checks did not hold: a; b")
  }

  @Test func `A row gets what the memory model wrote before it`() throws {
    let memory = #"{"type":"memory","series":7,"operations":2,"dataLines":4}"#
    let rows = ["a", "b"].map { #"{"type":"benchmark","name":"\#($0)","instructions":1}"# }
    let benchmarks = try outcome([rows[0], memory, rows[1], Self.passed]).benchmarks
    #expect(benchmarks.map { $0["memory"]?["dataLines"]?.integer } == [nil, 4])
    #expect(benchmarks[1]["memory"]?["series"] == nil)
    let result = try outcome([memory, rows[0], memory, Self.result, Self.passed]).result
    #expect(result?["memory"]?["dataLines"]?.integer == 4)
  }

  @Test func `A failed check is named even if the kernel exited with zero`() {
    #expect(
      refusal([#"{"type":"check","name":"isolation","passed":false}"#, Self.result])
        == "fragmented-fork with vmalloc stacks failed: this check did not hold: isolation")
  }

  @Test func `An error is quoted`() {
    #expect(
      refusal([#"{"type":"error","message":"no memory in the device tree"}"#], exitCode: 1)
        == "fragmented-fork with vmalloc stacks failed: no memory in the device tree")
  }

  @Test func `A panic shows the last lines of the console`() {
    #expect(
      refusal(["booting", "panic: out of luck"], exitCode: 3)
        == "fragmented-fork with vmalloc stacks failed with exit code 3\n  | booting\n  | panic: out of luck")
  }

  @Test func `A run without a result is no success`() {
    #expect(refusal(["bye"]) == "fragmented-fork with vmalloc stacks ended without a result")
  }

  @Test func `Leaked frames are a failure`() {
    #expect(
      refusal([#"{"type":"result","leakedFrames":3}"#])
        == "fragmented-fork with vmalloc stacks failed: 3 frames leaked")
  }

  @Test func `The kernel is told only what the device tree does not say`() throws {
    let plan = try RunPlan(
      ["scenario=fragmented-fork", "strategy=linear", "seed=7", "memory=64M", "cpus=1", "numa-nodes=2"],
      cpu: .max, silenceLimit: 1, machine: .qemu)
    #expect(plan.kernelCommandLine == "scenario=fragmented-fork strategy=linear seed=7")
    #expect(plan.options.memoryBytes == 64 << 20)
    #expect(plan.options.nodeCount == 2)
  }

  @Test func `Cycles are counted by a host's CPUs, and results say whose they are`() throws {
    var plan = try RunPlan(
      ["scenario=bench", "strategy=vmalloc"], cpu: .cortexA72, silenceLimit: 1, machine: .qemu)
    #expect(plan.kernelCommandLine == "scenario=bench strategy=vmalloc")
    plan.accelerator = .kvm
    #expect(plan.kernelCommandLine == "scenario=bench strategy=vmalloc cycles=yes")
    let row = try JSON(parsing: #"{"type":"benchmark","name":"free","instructions":9,"cycles":4}"#)
    let outcome = try RunOutcome(plan: plan, exitCode: 0, lines: [], records: [row])
    #expect(outcome.benchmarks.first?["accelerator"]?.string == "kvm")
  }

  @Test func `More than eight CPUs of a storm have a thousand ticks a second together`() throws {
    func commandLine(_ scenario: String, cpus: Int) throws -> String {
      try RunPlan(
        ["scenario=\(scenario)", "strategy=vmalloc", "cpus=\(cpus)"], cpu: .cortexA72, silenceLimit: 1,
        machine: .qemu
      ).kernelCommandLine
    }
    #expect(try commandLine("smp-storm", cpus: 64) == "scenario=smp-storm strategy=vmalloc ticks=15")
    #expect(try commandLine("smp-storm", cpus: 8) == "scenario=smp-storm strategy=vmalloc")
    // Instructions are counted: guest time does not pass faster than they are executed.
    #expect(try commandLine("forks-at-once", cpus: 64) == "scenario=forks-at-once strategy=vmalloc")
  }
}
