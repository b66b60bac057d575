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
      sink.write("a size of ")
      sink.write(size)
      sink.write(" bytes is not a positive number of whole pages")
    case .oversized(let requested, let total):
      sink.write(byteCount: requested)
      sink.write(" refused: all memory is ")
      sink.write(byteCount: total)
    case .invalidAlignment(let alignment):
      sink.write("an alignment of ")
      sink.write(alignment)
      sink.write(" bytes is not a power of two from 4096 up")
    case .invalidGuard(let size):
      sink.write("a guard of ")
      sink.write(size)
      sink.write(" bytes is not a positive number of whole pages")
    case .unknownNode(let node, let count):
      sink.write("there is no NUMA node ")
      sink.write(node.index)
      sink.write(": there are ")
      sink.write(count)
    case .noAddressSpace(let requested, let alignment, let largest):
      sink.write(byteCount: requested)
      sink.write(" of address space at a multiple of ")
      sink.write(byteCount: alignment)
      sink.write(" refused: largest gap ")
      sink.write(byteCount: largest)
    case .occupied(let address):
      sink.write("address ")
      sink.write(hex: address.rawValue)
      sink.write(" in the vmalloc area is mapped by somebody else")
    case .frames(let error):
      error.write(to: &sink)
    case .foreignAddress(let address):
      sink.write("no area starts at ")
      sink.write(hex: address.rawValue)
    case .notTheStart(let address, let start):
      sink.write("address ")
      sink.write(hex: address.rawValue)
      sink.write(" lies in the area that starts at ")
      sink.write(hex: start.rawValue)
    case .doubleFree(let address):
      sink.write("the area at ")
      sink.write(hex: address.rawValue)
      sink.write(" is free already")
    case .stackArena(let address):
      sink.write("address ")
      sink.write(hex: address.rawValue)
      sink.write(" belongs to a stack arena")
    }
  }
}
