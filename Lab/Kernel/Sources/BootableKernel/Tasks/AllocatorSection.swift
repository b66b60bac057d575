// Allocator sections: thread code that must not be left half-way. An overflow inside one ends the kernel, since the data being
// changed stays inconsistent.
import KernelStacks

/// Runs code that changes data shared by all tasks, with interrupts on at least in part.
///
/// For preemptible thread code around each call of an allocator or of the process table. Code with interrupts off, code at
/// EL1h and the boot task do not need it: none of them can end alone. Sections may nest.
@inline(__always)
func inAllocatorSection<Result: ~Copyable, Failure: Error>(
  _ body: () throws(Failure) -> Result
) throws(Failure) -> Result {
  // Only the task itself changes its count.
  let record = Thread.current
  record.pointee.allocatorSections &+= 1
  defer { record.pointee.allocatorSections &-= 1 }
  return try body()
}
