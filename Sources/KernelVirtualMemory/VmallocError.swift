// The errors of a vmalloc area.

import KernelMachine

/// The reason why `vmalloc` or `vfree` refused.
///
/// Nothing has changed when one is thrown.
public enum VmallocError: Error, Equatable, TextDescribable {
  /// The size is zero, negative, or no multiple of 4,096.
  case invalidSize(Int)
  /// The size exceeds all memory of the frame source.
  case oversized(requestedBytes: Int, totalBytes: Int)
  /// The alignment is no power of two, or below 4,096.
  case invalidAlignment(Int)
  /// The guard is not positive, or no multiple of 4,096.
  case invalidGuard(Int)
  /// There is no such NUMA node.
  case unknownNode(NodeID, nodeCount: Int)
  /// No gap in the vmalloc area holds the area and its guard at that alignment.
  case noAddressSpace(requestedBytes: Int, alignment: Int, largestGapBytes: Int)
  /// Other code has mapped something into the vmalloc area.
  case occupied(VirtualAddress)
  /// No memory for the area, its tables or its record.
  case frames(FrameSourceError)
  /// No area starts at the address.
  case foreignAddress(VirtualAddress)
  /// The address lies in an area, but is not where it starts.
  case notTheStart(VirtualAddress, of: VirtualAddress)
  /// The area has been freed already.
  case doubleFree(VirtualAddress)
  /// The address belongs to a stack arena, which is not freed this way.
  case stackArena(VirtualAddress)

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .invalidSize(let size):
      sink.write("a size of %d bytes is not a positive number of whole pages", size)
    case .oversized(let requested, let total):
      sink.write("%b refused: all memory is %b", requested, total)
    case .invalidAlignment(let alignment):
      sink.write("an alignment of %d bytes is not a power of two from 4096 up", alignment)
    case .invalidGuard(let size):
      sink.write("a guard of %d bytes is not a positive number of whole pages", size)
    case .unknownNode(let node, let count):
      sink.write("there is no NUMA node %d: there are %d", node.index, count)
    case .noAddressSpace(let requested, let alignment, let largest):
      sink.write("%b of address space at a multiple of %b", requested, alignment)
      sink.write(" refused: largest gap %b", largest)
    case .occupied(let address):
      sink.write("address %x in the vmalloc area is mapped by somebody else", address.rawValue)
    case .frames(let error):
      error.write(to: &sink)
    case .foreignAddress(let address):
      sink.write("no area starts at %x", address.rawValue)
    case .notTheStart(let address, let start):
      sink.write("address %x lies in the area that starts at %x", address.rawValue, start.rawValue)
    case .doubleFree(let address):
      sink.write("the area at %x is free already", address.rawValue)
    case .stackArena(let address):
      sink.write("address %x belongs to a stack arena", address.rawValue)
    }
  }
}
