// What a configuration can get wrong, one case for each contradiction.

import KernelMachine

/// Why a ``StackConfiguration`` was refused.
///
/// Nothing has been taken from anywhere when it is thrown.
public enum StackConfigurationError: Error, Equatable, TextDescribable {
  /// The stack's size is not a multiple of the 4 KiB page.
  case sizeNotPageMultiple(Int)
  /// The stack's size is below one page or above the largest that is supported.
  case sizeOutOfRange(Int, maximum: Int)
  /// A stack in one block of the linear map must have a power of two as its size.
  case sizeNotPowerOfTwo(Int)
  /// The guard's size is not a multiple of the 4 KiB page.
  case guardNotPageMultiple(Int)
  /// The guard is smaller than a page, or the slot with it larger than one last-level table maps.
  case guardOutOfRange(Int, maximum: Int)
  /// The phase is not a multiple of the 4 KiB page.
  case phaseNotPageMultiple(Int)
  /// The phase is neither 0 nor from the stack's size up to, but not including, the slot's size.
  case phaseOutOfRange(Int, size: Int, stride: Int)
  /// Stacks in the linear map are aligned to their size and have no phase.
  case phaseOfLinearStacks(Int)
  /// The size of `thread_info` is not a positive multiple of 16, to which stack pointers are aligned.
  case threadInfoUnaligned(Int)
  /// `thread_info` takes more than a quarter of the stack.
  case threadInfoTooLarge(Int, maximum: Int)
  /// The base of a growing stack is not mapped, so `thread_info` cannot lie there.
  case threadInfoAtUnmappedBase
  /// A growing stack needs a CPU whose reserve it can grow from.
  case noCPUs
  /// The number of stacks is below 1 or above what the records can hold.
  case capacityOutOfRange(Int, maximum: Int)
  /// The number of cached stacks is negative or above the hard cap.
  case cacheOutOfRange(Int, maximum: Int)
  /// The number of stacks in the depot is negative or above the hard cap.
  case depotOutOfRange(Int, maximum: Int)
  /// The number of stacks that one invalidation serves is below 1 or above the hard cap.
  case batchOutOfRange(Int, maximum: Int)
  /// The number of groups is negative or above the hard cap.
  case groupsOutOfRange(Int, maximum: Int)
  /// Stacks in the linear map have no record that could name their group.
  case groupsOfLinearStacks(Int)
  /// The frame source has more NUMA nodes than stacks can be counted for.
  case tooManyNodes(Int, maximum: Int)
  /// The records of that many CPUs don't fit into one block of frames.
  case tooManyCPUs(Int)
  /// The memory for the records is too small, or begins at no multiple of 64.
  case unfitRecordMemory(byteCount: Int, needed: Int)
  /// The boot stack does not lie as the formula for `current` wants it: its base is off by this many bytes.
  case bootStackMisplaced(VirtualAddress, offBy: Int)
  /// There is a boot stack already.
  case secondBootStack(VirtualAddress)

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .sizeNotPageMultiple(let size):
      sink.write("a stack of %d bytes is not a multiple of the page, 4096", size)
    case .sizeOutOfRange(let size, let maximum):
      sink.write("a stack of %d bytes is outside 4096…%d", size, maximum)
    case .sizeNotPowerOfTwo(let size):
      sink.write("a linear stack of %d bytes is no power of two: contiguous blocks are", size)
    case .guardNotPageMultiple(let size):
      sink.write("a guard of %d bytes is not a multiple of the page, 4096", size)
    case .guardOutOfRange(let size, let maximum):
      sink.write("a guard of %d bytes is outside 4096…%d", size, maximum)
    case .phaseNotPageMultiple(let phase):
      sink.write("a phase of %d bytes is not a multiple of the page, 4096", phase)
    case .phaseOutOfRange(let phase, let size, let stride):
      sink.write("a phase of %d bytes is neither 0 nor in %d", phase, size)
      sink.write("..<%d", stride)
    case .phaseOfLinearStacks(let phase):
      sink.write("linear stacks are aligned to their size; a phase of %d bytes contradicts it", phase)
    case .threadInfoUnaligned(let size):
      sink.write("a thread_info of %d bytes is not a positive multiple of 16", size)
    case .threadInfoTooLarge(let size, let maximum):
      sink.write("a thread_info of %d bytes is more than a quarter of the stack, %d", size, maximum)
    case .threadInfoAtUnmappedBase:
      sink.write("the base of a growing stack is not mapped: thread_info has to be at the top")
    case .noCPUs:
      sink.write("growing stacks need a reserve, and there is no CPU to keep one")
    case .capacityOutOfRange(let capacity, let maximum):
      sink.write("a capacity of %d stacks is outside 1…%d", capacity, maximum)
    case .cacheOutOfRange(let count, let maximum):
      sink.write("a cache of %d stacks per CPU is outside 0…%d", count, maximum)
    case .depotOutOfRange(let count, let maximum):
      sink.write("a depot of %d stacks is outside 0…%d", count, maximum)
    case .batchOutOfRange(let count, let maximum):
      sink.write("a batch of %d stacks per invalidation is outside 1…%d", count, maximum)
    case .groupsOutOfRange(let count, let maximum):
      sink.write("%d groups are outside 0…%d", count, maximum)
    case .groupsOfLinearStacks(let count):
      sink.write("linear stacks have no record that could name one of %d groups", count)
    case .tooManyNodes(let count, let maximum):
      sink.write("%d NUMA nodes are more than %d", count, maximum)
    case .tooManyCPUs(let count):
      sink.write("the records of %d CPUs don't fit into one block of frames", count)
    case .unfitRecordMemory(let byteCount, let needed):
      sink.write(
        "%d bytes for records do not do: %d are needed, from a multiple of 64 on", byteCount, needed)
    case .bootStackMisplaced(let base, let offset):
      sink.write(
        "the boot stack at %x is %d bytes off the place that the formula for current gives", base.rawValue,
        UInt(bitPattern: offset))
    case .secondBootStack(let base): sink.write("there is a boot stack already: %x", base.rawValue)
    }
  }
}
