// The types that every scenario is built of: the allocator with fault injection between it and its frames.

import KernelStacks

extension BuddyAllocator: CountingFrameSource {}

/// The frames of a scenario: the buddy allocator, refusing on request.
public typealias ScenarioFrames<M: Machine> = FaultInjectingFrames<BuddyAllocator<M>>

/// The stacks of a scenario: with the strategy that the options name.
public typealias ScenarioStacks<M: Machine> = ThreadStackAllocator<M, ScenarioFrames<M>, VmallocArea<M>>
