// The invariant checks find every damaged byte of metadata. See MetadataLayout.swift for the offsets.

import KernelMachine
import KernelPageFrames
import Testing

@Suite("Invariant checks", .enabled(if: BuddyAllocator<TestMachine>._checksInvariants))
struct InvariantCheckTests {
  /// 64 frames, of which the first is taken: free blocks of order 0 to 5 follow it.
  ///
  /// Metadata begins at the buffer's start: 192 bytes for the node, 32 for the range, then 12 for each frame.
  static func damage(at offset: Int) throws {
    let bed = try Bed(frames: 64)
    _ = try bed.take(0)
    bed.allocator._checkInvariants()
    bed.metadata[offset] ^= 1
    bed.allocator._checkInvariants()
  }

  @Test("An undamaged allocator passes") func undamaged() throws {
    let bed = try Bed(frames: 64)
    _ = try bed.take(0)
    bed.allocator._checkInvariants()
  }

  @Test("A wrong bit of a non-empty order stops") func nonEmptyOrders() async {
    await #expect(processExitsWith: .failure) { try InvariantCheckTests.damage(at: 8) }
  }

  @Test("A wrong number of free frames stops") func freeFrames() async {
    await #expect(processExitsWith: .failure) { try InvariantCheckTests.damage(at: 16) }
  }

  @Test("A wrong number of free blocks stops") func freeBlocks() async {
    await #expect(processExitsWith: .failure) { try InvariantCheckTests.damage(at: 32 + 4 * 3) }
  }

  @Test("A torn list stops") func tornList() async {
    await #expect(processExitsWith: .failure) { try InvariantCheckTests.damage(at: 224 + 12 * 2 + 4) }
  }

  @Test("A wrong order in a block's first record stops") func wrongOrder() async {
    await #expect(processExitsWith: .failure) { try InvariantCheckTests.damage(at: 224 + 12 * 4 + 8) }
  }

  @Test("A frame inside of a block that says something else stops") func inside() async {
    await #expect(processExitsWith: .failure) { try InvariantCheckTests.damage(at: 224 + 12 * 5 + 8) }
  }
}
