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
    let refusal = try refusal(of: run.trace, run)
    #expect(refusal == nil, "seed \(seed): \(refusal ?? "")")
    run.end()
  }

  // A change of the scheduler changes each interleaving, so no single seed has to come to all.
  @Test func `The runs that the model accepts come to every kind of event`() throws {
    let runs = try (1...12).map { (seed: UInt64) in
      let run = try SchedulingRun(seed: seed)
      try run.run(steps: 250)
      run.end()
      return run
    }
    for kind: SchedulerEvent.Kind in [
      .switchIn, .waitForRefill, .refill, .grow, .sleep, .wake, .claim, .release,
    ] {
      let count = runs.count { $0.trace.count(of: kind) > 0 }
      #expect(count >= 6, "\(count) of \(runs.count) runs come to \(kind)")
    }
  }

  @Test(arguments: 1...3) func `The model refuses a run of which one refill is dropped`(seed: UInt64) throws {
    let run = try SchedulingRun(seed: seed)
    try run.run(steps: 250)
    let refills = run.trace.events(.refill)
    try #require(!refills.isEmpty)
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
