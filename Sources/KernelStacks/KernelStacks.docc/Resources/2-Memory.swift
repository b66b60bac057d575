// The board's memory, and who hands out its page frames.

import Board
import KernelStacks
import Machine

/// The board's 128 MiB of RAM, and the parts of it that the kernel keeps for itself.
struct BoardMemory: ~Copyable {
  var map = PhysicalMemoryMap()
  var metadata: UnsafeMutableRawBufferPointer

  init?() {
    let start = PhysicalAddress(0x4000_0000)
    let imageEnd = PhysicalAddress(board_image_end())
    do {
      try map.addMemory(start: start, byteCount: 128 << 20, node: NodeID(0))
      let metadataBytes = (BuddyAllocator<Virt>.metadataByteCount(for: map) + 4095) & ~4095
      try map.reserve(start: start, byteCount: Int(imageEnd.rawValue - start.rawValue) + metadataBytes)
      metadata = UnsafeMutableRawBufferPointer(start: Virt().pointer(to: imageEnd), count: metadataBytes)
    } catch {
      return nil
    }
  }

  /// A fresh allocator of all of it; the one before must be gone.
  func frames() -> BuddyAllocator<Virt> {
    do {
      return try BuddyAllocator(frames: map, metadata: metadata, machine: Virt())
    } catch {
      fail("the page frames were refused")
    }
  }
}
