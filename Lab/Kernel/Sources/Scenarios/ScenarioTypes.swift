// The types that every scenario is built of: the allocator with fault injection between it and its frames.

import KernelProcesses
import KernelStacks

/// A machine that scenarios run on: its page tables are built, and what it does is counted.
public typealias ScenarioMachine = PageTableMachine & MeasuredMachine

extension BuddyAllocator: CountingFrameSource {}

extension FaultInjectingFrames: ProcessFrameSource where Base: ~Copyable {
  /// A word that belongs to the owner of a frame.
  public borrowing func ownerWord(of frame: PageFrame) -> UnsafeMutablePointer<UInt32>? {
    base.ownerWord(of: frame)
  }

  /// Merges the free frames that are kept for speed.
  @discardableResult public borrowing func drain() -> Int { base.drain() }
}

/// The frames of a scenario: the buddy allocator, refusing on request.
public typealias ScenarioFrames<M: Machine> = FaultInjectingFrames<BuddyAllocator<M>>

/// The processes of a scenario.
public typealias ScenarioProcesses<M: PageTableMachine> = Processes<M, ScenarioFrames<M>>

/// The stacks of a scenario: with the strategy that the options name.
public typealias ScenarioStacks<M: PageTableMachine> = ThreadStackAllocator<
  M, ScenarioFrames<M>, VmallocArea<M>
>
