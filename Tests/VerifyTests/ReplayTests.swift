// The scheduler follows the model: traces of simulated machines are replayed by the model's own transitions.

import KernelStacks
import SimulatedMachine
import Testing

@Suite(.enabled(if: ModelReplay.isInstalled, "\(ModelReplay.advice)")) struct ReplayTests {
  @Test(arguments: 1...12)
  func `The model accepts whatever the scheduler does on three CPUs`(seed: UInt64) throws {
    let run = try SchedulingRun(seed: seed)
    try run.run(steps: 250)
    #expect(run.simulation.violations.isEmpty, "seed \(seed)")
    for kind: SchedulerEvent.Kind in [
      .switchIn, .waitForRefill, .refill, .grow, .sleep, .wake, .claim, .release,
    ] {
      #expect(run.trace.count(of: kind) > 0, "seed \(seed) never comes to \(kind)")
    }
    let refusal = try refusal(of: run.trace, run)
    #expect(refusal == nil, "seed \(seed): \(refusal ?? "")")
    run.end()
  }

  @Test(arguments: 1...3) func `The model refuses a run of which one refill is dropped`(seed: UInt64) throws {
    let run = try SchedulingRun(seed: seed)
    try run.run(steps: 250)
    let refills = run.trace.events(.refill)
    for index in [refills[0], refills[refills.count / 2], refills[refills.count - 1]] {
      #expect(try refusal(of: run.trace.without(index), run) != nil, "seed \(seed), without entry \(index)")
    }
    run.end()
  }

  @Test
  func `The model refuses a run of which one switch, growth, claim or invalidation is dropped`() throws {
    let run = try SchedulingRun(seed: 1)
    try run.run(steps: 250)
    for kind: SchedulerEvent.Kind in [.switchIn, .grow, .claim, .invalidateDone, .release, .wake] {
      let events = run.trace.events(kind).filter { run.trace.isSubstantial($0) }
      let index = try #require(events.dropFirst(events.count / 2).first)
      #expect(try refusal(of: run.trace.without(index), run) != nil, "without \(kind)")
    }
    run.end()
  }

  private func refusal(of trace: SchedulerTrace, _ run: SchedulingRun) throws -> String? {
    try ModelReplay.refusal(
      of: ReplayInput.make(trace, before: run.before, after: run.counts), cpuCount: run.cpuCount,
      threadCount: run.threadCount, pageCount: SchedulingRun.pageCount)
  }
}
