import KernelStacks
import Scenarios
import Testing

@Suite struct ScenarioTests {
  @Test(
    arguments: [ScenarioName.fragmentedFork, .forkChurn, .exhaustion, .recovery, .isolation, .kernelMemory],
    [StackStrategy.linear, .vmalloc])
  func runs(_ s: ScenarioName, _ st: StackStrategy) throws {
    let run = try ScenarioRun(.small(s, st))
    print(s, st, run.lines.map { String($0.prefix(700)) }.joined(separator: "\n"))
    #expect(run.passed, "\(run.problems)")
  }
}
