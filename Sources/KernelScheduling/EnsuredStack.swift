// A section of thread code whose stack is mapped in advance: it takes no fault, and shrinking leaves its pages mapped.

import KernelMachine
import KernelThreadStacks

extension ScheduledThread {
  /// Grows the running thread's stack at once, and protects the grown part from being shrunk.
  ///
  /// The conditions are those of ``StackGrower/grow(at:runningOn:)``: thread code requests it by an exception, with its
  /// own stack pointer. Sections may be nested: a floor only moves down. A section ends when the thread sets `floor` back to
  /// the returned value, which it can do anywhere.
  ///
  /// - Parameters:
  ///   - bytes: the size needed below the stack pointer, in bytes.
  ///   - stackPointer: the thread's stack pointer.
  ///   - grower: the allocator's ``ThreadStackAllocator/grower``.
  /// - Returns: the former floor.
  /// - Throws: the errors of ``StackGrower/ensure(bytes:below:runningOn:)``; nothing has changed then.
  /// - Complexity: O(pages of the section).
  public mutating func ensure<M: Machine>(
    bytes: Int, below stackPointer: VirtualAddress, grower: StackGrower<M>
  ) throws(ThreadStackError) -> VirtualAddress {
    try grower.ensure(bytes: bytes, below: stackPointer, runningOn: stackBase)
    let former = floor
    floor = min(former, stackPointer - bytes)
    return former
  }
}
