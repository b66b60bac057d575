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
  /// The boot stack does not lie as the formula for `current` wants it: its base is off by this many bytes.
  case bootStackMisplaced(VirtualAddress, offBy: Int)
  /// There is a boot stack already.
  case secondBootStack(VirtualAddress)

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .sizeNotPageMultiple(let size):
      sink.write(figures: "a stack of ", size, " bytes is not a multiple of the page, 4096")
    case .sizeOutOfRange(let size, let maximum):
      sink.write(figures: "a stack of ", size, " bytes is outside 4096…", maximum)
    case .sizeNotPowerOfTwo(let size):
      sink.write(figures: "a linear stack of ", size, " bytes is no power of two: contiguous blocks are")
    case .guardNotPageMultiple(let size):
      sink.write(figures: "a guard of ", size, " bytes is not a multiple of the page, 4096")
    case .guardOutOfRange(let size, let maximum):
      sink.write(figures: "a guard of ", size, " bytes is outside 4096…", maximum)
    case .phaseNotPageMultiple(let phase):
      sink.write(figures: "a phase of ", phase, " bytes is not a multiple of the page, 4096")
    case .phaseOutOfRange(let phase, let size, let stride):
      sink.write(figures: "a phase of ", phase, " bytes is neither 0 nor in ", size)
      sink.write(figures: "..<", stride)
    case .phaseOfLinearStacks(let phase):
      sink.write(
        figures: "linear stacks are aligned to their size; a phase of ", phase, " bytes contradicts it")
    case .threadInfoUnaligned(let size):
      sink.write(figures: "a thread_info of ", size, " bytes is not a positive multiple of 16")
    case .threadInfoTooLarge(let size, let maximum):
      sink.write(figures: "a thread_info of ", size, " bytes is more than a quarter of the stack, ", maximum)
    case .threadInfoAtUnmappedBase:
      sink.write("the base of a growing stack is not mapped: thread_info has to be at the top")
    case .noCPUs:
      sink.write("growing stacks need a reserve, and there is no CPU to keep one")
    case .capacityOutOfRange(let capacity, let maximum):
      sink.write(figures: "a capacity of ", capacity, " stacks is outside 1…", maximum)
    case .cacheOutOfRange(let count, let maximum):
      sink.write(figures: "a cache of ", count, " stacks per CPU is outside 0…", maximum)
    case .depotOutOfRange(let count, let maximum):
      sink.write(figures: "a depot of ", count, " stacks is outside 0…", maximum)
    case .batchOutOfRange(let count, let maximum):
      sink.write(figures: "a batch of ", count, " stacks per invalidation is outside 1…", maximum)
    case .groupsOutOfRange(let count, let maximum):
      sink.write(figures: "", count, " groups are outside 0…", maximum)
    case .groupsOfLinearStacks(let count):
      sink.write(figures: "linear stacks have no record that could name one of ", count, " groups")
    case .tooManyNodes(let count, let maximum):
      sink.write(figures: "", count, " NUMA nodes are more than ", maximum)
    case .tooManyCPUs(let count):
      sink.write(figures: "the records of ", count, " CPUs don't fit into one block of frames")
    case .bootStackMisplaced(let base, let offset):
      sink.write("the boot stack at ")
      sink.write(hex: base.rawValue)
      sink.write(figures: " is ", offset, " bytes off the place that the formula for current gives")
    case .secondBootStack(let base):
      sink.write("there is a boot stack already: ")
      sink.write(hex: base.rawValue)
    }
  }
}

extension TextSink {
  /// Words, a number, words.
  mutating func write(figures before: StaticString, _ value: Int, _ after: StaticString = "") {
    write(before)
    write(value)
    write(after)
  }

  /// Words, a number, words, a number.
  mutating func write(
    figures before: StaticString, _ value: Int, _ between: StaticString, _ limit: Int
  ) {
    write(figures: before, value, between)
    write(limit)
  }
}
