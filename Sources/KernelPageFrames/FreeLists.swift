// The free lists of one node. Each list is a ring of records through the record of its head:
//
//        +------+  next  +---------+  next  +---------+  next
//   +--> | head | -----> | block a | -----> | block b | ------+      last in, first out, at the head;
//   |    +------+ <----- +---------+ <----- +---------+       |      from anywhere when a buddy merges
//   |         previous      previous                          |
//   +---------------------------------------------------------+
//
// Every operation takes constant time, and none has a case for the empty list or for its ends. The node's lock is held.

import KernelMachine
import Synchronization

/// The free lists of one node, accessed under the node's lock.
struct FreeLists {
  let records: UnsafeMutablePointer<FrameRecord>
  let node: UnsafeMutablePointer<NodeRecord>

  init(records: UnsafeMutablePointer<FrameRecord>, node: UnsafeMutablePointer<NodeRecord>) {
    self.records = records
    self.node = node
  }

  // Why the pointers are sound: (1) an index comes from a list, from a frame found in a range, or from such an index by
  // flipping a bit below 10, so it lies in the table; (2) an order is at most 10.
  @inline(__always) func record(_ index: UInt32) -> UnsafeMutablePointer<FrameRecord> {
    records + Int(truncatingIfNeeded: index)
  }

  @inline(__always) func head(_ order: Int) -> UInt32 {
    node.pointee.listHeads &+ UInt32(truncatingIfNeeded: order)
  }

  /// The node's lock: the first bytes of its record.
  @inline(__always) var lock: UnsafeMutablePointer<SpinLock> {
    UnsafeMutableRawPointer(node).assumingMemoryBound(to: SpinLock.self)
  }

  /// The node's zeroed frames.
  ///
  /// Written under the lock; read without it too, to see whether there are any. So it is one atomic word, at byte 128 of
  /// the node's record.
  var zeroedPool: FrameListWord {
    @inline(__always) get { FrameListWord(rawValue: zeroedPoolWord.pointee.load(ordering: .relaxed)) }
    @inline(__always) nonmutating set { zeroedPoolWord.pointee.store(newValue.rawValue, ordering: .relaxed) }
  }
  @inline(__always) var zeroedPoolWord: UnsafeMutablePointer<Atomic<UInt64>> {
    (UnsafeMutableRawPointer(node) + 128).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Puts a block at the front of the list of its order, and sets its record's tag.
  @inline(__always) func push(_ index: UInt32, order: Int, tag: FrameTag) {
    let head = head(order)
    let first = record(head).next
    record(index).next = first
    record(index).previous = head
    record(index).tag = tag
    record(first).previous = index
    record(head).next = index
    node.pointee.nonEmptyOrders |= 1 &<< UInt(truncatingIfNeeded: order)
    node.pointee.freeBlocks[unchecked: order] &+= 1
  }

  /// Puts a block into the list of its order, which is empty.
  ///
  /// The caller sets the bit of that order.
  @inline(__always) func pushFirst(_ index: UInt32, order: Int, tag: FrameTag) {
    let head = head(order)
    record(index).next = head
    record(index).previous = head
    record(index).tag = tag
    record(head).next = index
    record(head).previous = index
    node.pointee.freeBlocks[unchecked: order] = 1
  }

  /// Takes the first block of the list of an order, which is not empty.
  ///
  /// Its record still says that it is free.
  @inline(__always) func pop(order: Int) -> UInt32 {
    let head = head(order)
    let index = record(head).next
    let next = record(index).next
    record(head).next = next
    record(next).previous = head
    if next == head { node.pointee.nonEmptyOrders &= ~(1 &<< UInt(truncatingIfNeeded: order)) }
    node.pointee.freeBlocks[unchecked: order] &-= 1
    return index
  }

  /// Removes a given block from the list of its order.
  ///
  /// Its record still says that it is free.
  @inline(__always) func remove(_ index: UInt32, order: Int) {
    let next = record(index).next
    let previous = record(index).previous
    record(previous).next = next
    record(next).previous = previous
    // Only in a ring of one are both neighbours the same record as the head.
    if next == previous, next == head(order) {
      node.pointee.nonEmptyOrders &= ~(1 &<< UInt(truncatingIfNeeded: order))
    }
    node.pointee.freeBlocks[unchecked: order] &-= 1
  }
}
