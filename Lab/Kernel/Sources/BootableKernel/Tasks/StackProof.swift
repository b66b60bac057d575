// The proof that a stack can be used down to an address, while the thread may be preempted and its dead pages taken.
#if hasFeature(Embedded)
  import KernelAssembly
  import KernelStacks

  /// Fills the current thread's stack below its stack pointer with words of its own, and verifies them.
  ///
  /// Below the stack pointer all pages are dead, but for a floor, which this sets: else a thread that is preempted in between
  /// may lose what it has written there.
  ///
  /// - Parameters:
  ///   - lowest: the lowest address; what is not mapped grows.
  ///   - owner: told by the words.
  /// - Returns: whether all of them held.
  func proveStack(downTo lowest: UInt, owner: UInt64) -> Bool {
    let record = Thread.current
    let former = record.pointee.scheduled.floor
    record.pointee.scheduled.floor = min(former, VirtualAddress(lowest))
    defer { record.pointee.scheduled.floor = former }
    return prove_stack(lowest, owner) == 1
  }
#endif
