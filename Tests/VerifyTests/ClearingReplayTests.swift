// The allocator of frames follows the model: traces of simulated CPUs are replayed by the model's own steps.

import KernelStacks
import SimulatedMachine
import Testing

@Suite(.enabled(if: ModelReplay.isInstalled, "\(ModelReplay.advice)")) struct ClearingReplayTests {
  @Test(arguments: 1...8)
  func `The model accepts whatever three CPUs do with free frames, clearing among it`(seed: UInt64) throws {
    let run = try ClearingRun(seed: seed)
    try run.run(steps: 160)
    #expect(run.simulation.violations.isEmpty && run.problems.isEmpty, "seed \(seed): \(run.problems)")
    let seen = Set(run.trace.events.map(\.letter))
    #expect(seen.isSuperset(of: "SCEBRFYDJKLpuhog"), "seed \(seed) only comes to \(String(seen.sorted()))")
    let refusal = try ModelReplay.refusal(of: run.trace.input(), run)
    #expect(refusal == nil, "seed \(seed): \(refusal ?? "")")
  }

  @Test(arguments: Array("SCEBRFYGDJKLpuhg"))
  func `The model refuses a run of which one step is dropped`(letter: Character) throws {
    let run = try ClearingRun(seed: 1)
    try run.run(steps: 160)
    let found = run.trace.events.indices.filter { run.trace.events[$0].letter == letter }
    // Lists that were not merged (J) are merged by the next CPU that merges: so the model does not miss each of these steps.
    let candidates = found.dropFirst(found.count / 3).prefix(letter == "J" ? 3 : 1)
    #expect(
      try candidates.contains { try ModelReplay.refusal(of: run.trace.input(without: $0), run) != nil },
      "without \(letter)")
  }
}
