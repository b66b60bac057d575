// The report of a stall: which threads wait, and for how many frames. What ends the kernel afterwards is the machine's.

import KernelStacks

/// Writes who waits for what when no thread can ever run again.
///
/// Nothing runs meanwhile.
///
/// - Parameters:
///   - scheduler: the one that has found the stall.
///   - stacks: the allocator of the threads' stacks.
///   - console: where the lines go.
public func writeStall<
  M: Machine, F: FrameSource & ~Copyable, A: StackArena & ~Copyable, Events: SchedulerEvents, Console: TextSink
>(
  of scheduler: borrowing ThreadScheduler<M, Events>, stacks: borrowing ThreadStackAllocator<M, F, A>,
  to console: Console
) {
  var console = console
  console.write("stall: every task that could run waits for the frames that its stack may need\n")
  scheduler.visitRefillWaiters { thread in
    console.write("  task ")
    console.write(thread.pointee.id)
    console.write(" waits for ")
    console.write(stacks.missingPageCount(thread.pointee.stackBase))
    console.write(" frames\n")
  }
}
