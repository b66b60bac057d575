// The errors of a description of physical memory, and of the memory given for an allocator's metadata.

import KernelMachine

/// The reason why a memory map, or an allocator made from one, was refused.
///
/// Nothing has changed when one is thrown.
public enum PhysicalMemoryError: Error, Equatable, TextDescribable {
  /// The range has no bytes, or a negative number of them.
  case emptyRange(PhysicalAddress, byteCount: Int)
  /// The range holds no whole page frame.
  case smallerThanFrame(PhysicalAddress, byteCount: Int)
  /// The range ends above the 48 bits of a physical address.
  case outsideAddressSpace(PhysicalAddress, byteCount: Int)
  /// RAM was added twice; the second address is where the earlier range begins.
  case overlappingMemory(PhysicalAddress, earlier: PhysicalAddress)
  /// The node's number is negative or too large.
  case invalidNode(NodeID, limit: Int)
  /// The map has no room for one more range of RAM.
  case tooManyMemoryRanges(limit: Int)
  /// The map has no room for one more reserved range.
  case tooManyReservedRanges(limit: Int)
  /// There is no RAM, or all of it is reserved.
  case noUsableMemory(totalFrames: Int)
  /// The memory given for the allocator's metadata is too small.
  case metadataTooSmall(neededBytes: Int, givenBytes: Int)
  /// The number of CPUs is negative or too large.
  case invalidCPUCount(Int, limit: Int)
  /// There are more frames than 32-bit links can name.
  case tooManyFrames(Int)

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .emptyRange(let start, let byteCount):
      sink.write("a memory range of %d bytes at %x is empty", UInt(bitPattern: byteCount), start.rawValue)
    case .smallerThanFrame(let start, let byteCount):
      sink.write("the %d bytes at %x hold no whole page frame", UInt(bitPattern: byteCount), start.rawValue)
    case .outsideAddressSpace(let start, let byteCount):
      sink.write(
        "%d bytes at %x end above the 48 bits of a physical address", UInt(bitPattern: byteCount),
        start.rawValue)
    case .overlappingMemory(let start, let earlier):
      sink.write("memory at %x overlaps the range at %x", start.rawValue, earlier.rawValue)
    case .invalidNode(let node, let limit):
      sink.write("NUMA node %d is outside 0…%d", node.index, limit - 1)
    case .tooManyMemoryRanges(let limit):
      sink.write("more than %d ranges of memory", limit)
    case .tooManyReservedRanges(let limit):
      sink.write("more than %d reserved ranges", limit)
    case .noUsableMemory(let totalFrames):
      sink.write("no usable memory: %b of RAM, all of it reserved", totalFrames &<< 12)
    case .metadataTooSmall(let needed, let given):
      sink.write("frame metadata needs %d bytes, but %d were given", needed, given)
    case .invalidCPUCount(let count, let limit):
      sink.write("lists of free frames for %d CPUs: the number is to be from 0 to %d", count, limit)
    case .tooManyFrames(let count):
      sink.write("%d frames are more than 32-bit links can name", count)
    }
  }
}
