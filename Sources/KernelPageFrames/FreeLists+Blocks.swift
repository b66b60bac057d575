// Splitting and merging of blocks, under the node's lock.
//
// A block of order 3 is split down to order 0: the lower half is kept, the upper half goes to the list below.
//
//   |               3               |
//   |       2       |    2 free     |
//   |   1   | 1 free|
//   | 0 | 0 |            the lists of the orders in between were empty,
//         free           or the block would have come from one of them
//
// Merging is the reverse: as long as the other half of the next larger block is free as a whole.

import KernelMachine

extension FreeLists {
  /// Puts the upper halves of a block into the lists of the orders below it, which are empty.
  @inline(__always) func split(_ index: UInt32, from found: Int, to order: Int, range: FrameTag) {
    var half = found
    repeat {
      half &-= 1
      pushFirst(
        index &+ 1 &<< UInt32(truncatingIfNeeded: half), order: half,
        tag: range.with(state: FrameState.free, order: half))
    } while half > order
    node.pointee.nonEmptyOrders |=
      1 &<< UInt(truncatingIfNeeded: found) &- 1 &<< UInt(truncatingIfNeeded: order)
  }

  /// Whether the buddy of a block that is not free itself is a free block of the same order.
  @inline(__always) func canMerge(_ index: UInt32, order: Int, range: FrameTag) -> Bool {
    // A block of the largest order has no buddy. With the bit masked off it compares with itself, which is not free.
    let bit = 1 &<< UInt32(truncatingIfNeeded: order) & 1023
    return record(index ^ bit).tag == range.with(state: FrameState.free, order: order)
  }

  /// Merges a block with its free buddy, repeats that as long as possible, and puts the result into its list.
  @inline(__always) func mergeAndPush(_ first: UInt32, order freed: Int, range: FrameTag) {
    var index = first
    var order = freed
    repeat {
      let bit: UInt32 = 1 &<< UInt32(truncatingIfNeeded: order)
      remove(index ^ bit, order: order)
      record(index | bit).tag = range.with(state: FrameState.inside)
      index &= ~bit
      order &+= 1
      // Neither half says `free` with the new order, so `canMerge` sees the block as not free.
    } while canMerge(index, order: order, range: range)
    push(index, order: order, tag: range.with(state: FrameState.free, order: order))
    node.pointee.freeFrames &+= 1 &<< freed
  }

  /// The first record of the block that a frame belongs to, and its tag.
  ///
  /// Its index is the frame's with some low bits cleared; the first record on the way that doesn't say `inside` is it.
  @inline(never) func block(at index: UInt32) -> (head: UInt32, tag: FrameTag) {
    var head = index
    for order in 0..<10 {
      head &= ~(1 &<< UInt32(truncatingIfNeeded: order) &- 1)
      let tag = record(head).tag
      if tag.state != FrameState.inside { return (head, tag) }
    }
    head &= ~1023
    return (head, record(head).tag)
  }

  /// Cuts a run of records into the largest aligned blocks, from high to low, so that a list begins with the lowest.
  ///
  /// - Parameter body: gets the index of a block's first record, and its order.
  @inline(__always) func forEachBlock(in run: Range<Int>, _ body: (FreeLists, UInt32, Int) -> Void) {
    var end = run.upperBound
    while end > run.lowerBound {
      let room = Int.bitWidth &- 1 &- (end &- run.lowerBound).leadingZeroBitCount
      let order = min(10, min(end.trailingZeroBitCount, room))
      end &-= 1 &<< order
      body(self, UInt32(truncatingIfNeeded: end), order)
    }
  }
}
