// Where stacks get their addresses from: a reserved part of the vmalloc area and its last-level page-table entries.

/// What can go wrong when address space for stacks is reserved.
public enum StackArenaError: Error, Equatable, TextDescribable {
  /// No gap in the vmalloc area is large enough.
  case noAddressSpace(requestedBytes: Int, largestGapBytes: Int)
  /// No memory for records or tables.
  case frames(FrameSourceError)

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .noAddressSpace(let requested, let largest):
      sink.write("%b of address space refused: largest gap %b", requested, largest)
    case .frames(let error):
      error.write(to: &sink)
    }
  }
}

/// A part of the vmalloc area whose last-level entries are written by the stack allocator itself.
///
/// The arena owns the tables, the allocator owns the entries. An address whose table exists keeps it until
/// ``releaseTables(covering:to:)``, so an entry's location may be remembered.
public protocol StackArena: ~Copyable {
  /// Reserves address space for stacks, once.
  ///
  /// - Parameters:
  ///   - byteCount: how much, a multiple of 4,096.
  ///   - alignment: a power of two, at least 4,096.
  ///   - phase: what the returned address is above a multiple of `alignment`; a multiple of 4,096.
  ///   - frames: where records come from.
  /// - Returns: the lowest address of the reserved part.
  borrowing func reserveStackArea<Frames: FrameSource & ~Copyable>(
    byteCount: Int, alignment: Int, phase: Int, frames: borrowing Frames
  ) throws(StackArenaError) -> VirtualAddress

  /// Gives the reserved part back. All its entries are empty and all its tables released.
  borrowing func releaseStackArea<Frames: FrameSource & ~Copyable>(
    at base: VirtualAddress, frames: borrowing Frames)

  /// Finds the last-level entry of `address`, building the tables above it where they are missing.
  ///
  /// When it throws, no table has been left behind. The entries of the other pages of the same 2 MiB follow at
  /// intervals of 8 bytes.
  ///
  /// - Returns: the physical address of the entry.
  borrowing func leafEntry<Frames: FrameSource & ~Copyable>(
    at address: VirtualAddress, node: NodeID?, frames: borrowing Frames
  ) throws(FrameSourceError) -> PhysicalAddress

  /// Finds the last-level entry of `address` if its table exists.
  borrowing func existingLeafEntry(at address: VirtualAddress) -> PhysicalAddress?

  /// Gives back every table all of whose entries are empty and whose span lies in `range`.
  ///
  /// It waits for one invalidation, if there is anything to give back.
  ///
  /// - Returns: how many frames went back.
  borrowing func releaseTables<Frames: FrameSource & ~Copyable>(
    covering range: VirtualAddressRange, to frames: borrowing Frames
  ) -> Int

  /// The entry that maps a frame as stack memory: writable by the kernel, never executable, accessed.
  borrowing func stackEntry(for frame: PageFrame) -> PageTableEntry
}
