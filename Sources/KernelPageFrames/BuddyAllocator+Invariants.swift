// The checks of the invariants that BuddyAllocator.swift names; compiled only where `INTERNAL_CHECKS` is defined.

import KernelMachine

extension BuddyAllocator {
  #if INTERNAL_CHECKS
    /// Whether ``_checkInvariants()`` does anything.
    public static var _checksInvariants: Bool { true }

    /// Stops if an invariant does not hold.
    ///
    /// No other CPU may use the allocator meanwhile, or be clearing a frame for the pool: see ``pauseClearing()``.
    ///
    /// - Complexity: O(frames).
    public borrowing func _checkInvariants() {
      var free = 0
      var managed = 0
      var single = 0
      for number in 0..<rangesEnd - ranges {
        let (usable, unused, listed) = _checkBlocks(of: number)
        managed += usable
        free += unused
        single += listed
      }
      var listed = 0
      for node in 0..<nodeCount { listed += _checkLists(of: node) + _checkZeroedPool(of: node) }
      for cpu in 0..<listedCPUs {
        let lists = cpuLists + cpu
        listed += _checkChain(
          lists.pointee.ready.value, node: lists.pointee.homeNode, limit: CPUFrameLists.limit)
        listed += _checkChain(
          lists.pointee.zeroed.value, node: lists.pointee.homeNode, limit: CPUFrameLists.limit)
      }
      precondition(listed == free, "a free block is in no list, or in two")
      // They are distinct: as many records say `listed` as there are links, and each link leads to such a record.
      precondition(single == _listedFrames(), "a frame is in two lists of CPUs, or says so and is in none")
      precondition(free == freeFrames, "the number of free frames is wrong")
      precondition(managed == totalFrames, "a usable frame has been lost or won")
    }

    private borrowing func _listedFrames() -> Int {
      var sum = 0
      for node in 0..<nodeCount { sum += singleFrames(on: node) }
      return sum
    }

    private borrowing func _checkZeroedPool(of node: Int) -> Int {
      _checkChain(
        FreeLists(records: records, node: nodes + node).zeroedPool, node: node,
        limit: nodes[node].zeroedPoolLimit)
    }

    /// Walks the list of a CPU, or a pool.
    ///
    /// Returns the number of frames in it.
    private borrowing func _checkChain(_ word: FrameListWord, node: Int, limit: Int) -> Int {
      precondition(word.count <= limit, "a list of single frames is too long")
      var index = word.first
      for _ in 0..<word.count {
        let record = records[Int(index)]
        precondition(record.tag.stateAndOrder == FrameState.listed << 4, "a listed frame says something else")
        precondition(ranges[record.tag.range].node == node, "a frame is in a list of another node")
        index = record.next
      }
      return word.count
    }

    /// Walks a range block by block.
    ///
    /// Returns the numbers of usable frames, of free ones among these, and of those free ones that are in no block.
    private borrowing func _checkBlocks(of number: Int) -> (usable: Int, free: Int, listed: Int) {
      let range = ranges[number]
      let first = Int(range.firstFrame &- range.bias)
      let end = first + Int(range.frameCount)
      precondition(
        range.firstFrame & 1023 == UInt(first) & 1023, "an index is aligned otherwise than its frame")
      var usable = 0
      var free = 0
      var listed = 0
      var index = first
      while index < end {
        let tag = records[index].tag
        precondition(tag.range == number, "a frame is in another range than it says")
        if tag.state == FrameState.reserved {
          index += 1
          continue
        }
        let count = 1 << tag.order
        precondition(
          tag.state == FrameState.free || tag.state == FrameState.used
            || tag.state == FrameState.listed && tag.order == 0, "a block has no head")
        precondition(
          tag.order <= 10 && index % count == 0 && index + count <= end, "a block lies where it can't")
        for other in index + 1..<index + count {
          precondition(
            records[other].tag == FrameTag(range: UInt32(number), state: FrameState.inside),
            "a frame inside of a block says something else")
        }
        if tag.state == FrameState.free {
          precondition(
            tag.order == 10 || records[index ^ count].tag != tag, "two free buddies have not been merged")
          free += count
        }
        if tag.state == FrameState.listed {
          free += 1
          listed += 1
        }
        usable += count
        index += count
      }
      return (usable, free, listed)
    }

    /// Walks the free lists of a node.
    ///
    /// Returns the number of frames in them.
    private borrowing func _checkLists(of node: Int) -> Int {
      let record = nodes[node]
      var frames = 0
      for order in 0...Self.maximumOrder {
        let head = record.listHeads + UInt32(order)
        var blocks = 0
        var previous = head
        var index = records[Int(head)].next
        while index != head {
          let tag = records[Int(index)].tag
          precondition(records[Int(index)].previous == previous, "a free list is torn")
          precondition(
            tag.state == FrameState.free && tag.order == order, "a list holds what doesn't belong there")
          precondition(ranges[tag.range].node == node, "a block is in the list of another node")
          blocks += 1
          precondition(blocks <= totalFrames, "a free list never ends")
          previous = index
          index = records[Int(index)].next
        }
        precondition(records[Int(head)].previous == previous, "a free list is torn at its end")
        precondition(blocks == Int(record.freeBlocks[order]), "the number of free blocks of an order is wrong")
        precondition(
          (record.nonEmptyOrders >> UInt(order) & 1 == 1) == (blocks > 0), "the bit of an order is wrong")
        frames += blocks << order
      }
      precondition(
        frames + FreeLists(records: records, node: nodes + node).zeroedPool.count + record.clearing
          == record.freeFrames, "the number of free frames of a node is wrong")
      return frames
    }
  #else
    /// Whether ``_checkInvariants()`` does anything.
    public static var _checksInvariants: Bool { false }

    /// Does nothing; with `INTERNAL_CHECKS`, stops if an invariant does not hold.
    @inline(__always) public borrowing func _checkInvariants() {}
  #endif
}
