// The types that every scenario is built of: the allocator with fault injection between it and its frames.

import KernelStacks

/// A machine that scenarios run on: its page tables are built, and what it does is counted.
public typealias ScenarioMachine = PageTableMachine & MeasuredMachine

extension BuddyAllocator: CountingFrameSource {}

/// The frames of a scenario: the buddy allocator, refusing on request.
public typealias ScenarioFrames<M: Machine> = FaultInjectingFrames<BuddyAllocator<M>>

/// The stacks of a scenario: with the strategy that the options name.
public typealias ScenarioStacks<M: PageTableMachine> = ThreadStackAllocator<
  M, ScenarioFrames<M>, VmallocArea<M>
>
