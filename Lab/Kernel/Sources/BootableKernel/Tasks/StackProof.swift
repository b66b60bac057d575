// A proof that a stack can be used down to an address, though the thread may be preempted and its dead pages taken.
import KernelAssembly
import KernelStacks

/// Fills the current thread's stack below its stack pointer with words, and verifies them.
///
/// All pages below the stack pointer are dead unless a floor protects them. This sets one: otherwise a thread preempted in
/// between could lose what it has written.
///
/// - Parameters:
///   - lowest: the lowest address; pages that are not mapped grow.
///   - owner: the owner that the words encode.
/// - Returns: whether all of them held.
func proveStack(downTo lowest: UInt, owner: UInt64) -> Bool {
  let record = Thread.current
  let former = record.pointee.scheduled.floor
  record.pointee.scheduled.floor = min(former, VirtualAddress(lowest))
  defer { record.pointee.scheduled.floor = former }
  return prove_stack(lowest, owner) == 1
}
