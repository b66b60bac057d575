// The invariant checks find every damaged byte of metadata. See MetadataLayout.swift for the offsets.

import KernelMachine
import KernelPageFrames
import Testing

@Suite(.enabled(if: BuddyAllocator<TestMachine>._checksInvariants))
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

  @Test func `An undamaged allocator passes`() throws {
    let bed = try Bed(frames: 64)
    _ = try bed.take(0)
    bed.allocator._checkInvariants()
  }

  @Test func `A wrong bit of a non-empty order stops`() async {
    await #expect(processExitsWith: .failure) { try InvariantCheckTests.damage(at: 8) }
  }

  @Test func `A wrong number of free frames stops`() async {
    await #expect(processExitsWith: .failure) { try InvariantCheckTests.damage(at: 16) }
  }

  @Test func `A wrong number of free blocks stops`() async {
    await #expect(processExitsWith: .failure) { try InvariantCheckTests.damage(at: 32 + 4 * 3) }
  }

  @Test func `A torn list stops`() async {
    await #expect(processExitsWith: .failure) { try InvariantCheckTests.damage(at: 224 + 12 * 2 + 4) }
  }

  @Test func `A wrong order in a block's first record stops`() async {
    await #expect(processExitsWith: .failure) { try InvariantCheckTests.damage(at: 224 + 12 * 4 + 8) }
  }

  @Test func `A frame inside of a block that says something else stops`() async {
    await #expect(processExitsWith: .failure) { try InvariantCheckTests.damage(at: 224 + 12 * 5 + 8) }
  }
}
