// A section of thread code whose stack is there beforehand: it takes no fault, and shrinking leaves it alone.

import KernelMachine
import KernelThreadStacks

extension ScheduledThread {
  /// Grows the running thread's stack now, and protects it down to there from being shrunk.
  ///
  /// The conditions are those of ``StackGrower/grow(at:runningOn:)``: thread code asks for it by an exception, with its
  /// own stack pointer. It may be nested: a floor only ever goes down. The section ends when `floor` gets back the value
  /// that this returns, which the thread itself can do anywhere.
  ///
  /// - Parameters:
  ///   - bytes: how much is needed below the stack pointer.
  ///   - stackPointer: the thread's.
  ///   - grower: the allocator's.
  /// - Returns: the floor to go back to.
  /// - Throws: what ``StackGrower/ensure(bytes:below:runningOn:)`` does; nothing has changed then.
  @inlinable public mutating func ensure<M: Machine>(
    bytes: Int, below stackPointer: VirtualAddress, grower: StackGrower<M>
  ) throws(ThreadStackError) -> VirtualAddress {
    try grower.ensure(bytes: bytes, below: stackPointer, runningOn: stackBase)
    let former = floor
    floor = min(former, stackPointer - bytes)
    return former
  }
}
