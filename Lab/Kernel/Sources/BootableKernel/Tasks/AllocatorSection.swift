// Sections of thread code that must not be left half-way: a task that overflows its stack inside one takes the kernel
// with it, since what it was changing stays half-changed.
#if hasFeature(Embedded)
  import KernelStacks

  /// Runs code that changes what all tasks share, with interrupts on at least in part.
  ///
  /// It is for preemptible thread code around each call of an allocator or of the process table. Code with interrupts off,
  /// at EL1h, and of the boot task needs none: none of these can die alone. Sections may lie in each other.
  @inline(__always)
  func inAllocatorSection<Result: ~Copyable, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    // Nobody but the task itself changes its count.
    let record = Thread.current
    record.pointee.allocatorSections &+= 1
    defer { record.pointee.allocatorSections &-= 1 }
    return try body()
  }
#endif
