// The stack benchmark on the simulated machine, which counts TLB invalidations and memory, but no instructions.

import KernelStacks
import Scenarios
import SimulatedMachine

func runBenchmark(
  _ options: ScenarioOptions, in world: SimulatedWorld, console: LineConsole
) throws(SimulatedRunError) -> Bool {
  let frames = try world.makeFrames()
  let arena = try world.makeArena(options)
  let stacks: BareStacks<Simulated>
  do {
    stacks = try BareStacks(
      StackConfiguration(
        options.strategy, size: options.stackSize, stackGroups: options.strategy == .linear ? 0 : 1),
      machine: world.simulation.machine, frames: frames, arena: arena)
  } catch { throw .stacks(error) }
  return runStackBenchmark(options, stacks: stacks, console: console)
}
