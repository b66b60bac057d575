// The pool of zeroed frames of each node: idle CPUs fill it, requests for cleared frames take from it.

import KernelMachine

extension BuddyAllocator {
  /// How many zeroed frames a node's pool holds at most: a 64th of its memory, and no more than 4 MiB; 0 where no CPU
  /// keeps lists, and if there is no such node.
  @inlinable public borrowing func zeroedFrameLimit(on node: NodeID) -> Int {
    isNode(node) ? nodes[node.index].poolLimit : 0
  }

  /// How many zeroed frames wait on a node for requests, in its pool and in the lists of its CPUs.
  ///
  /// - Complexity: O(CPUs).
  @inlinable public borrowing func zeroedFrames(on node: NodeID) -> Int {
    guard isNode(node) else { return 0 }
    var count = FreeLists(records: records, node: nodes + node.index).pool.count
    for cpu in 0..<listedCPUs where (cpuLists + cpu).pointee.homeNode == node.index {
      count &+= (cpuLists + cpu).pointee.zeroed.value.count
    }
    return count
  }

  /// Clears one free frame of the current CPU's node for the node's pool.
  ///
  /// To be called by a CPU that has nothing else to do, in the loop in which it looks for work: what it does is short
  /// enough to be done before each look. No lock is held, and interrupts are as the caller has them, while it clears;
  /// meanwhile the frame counts as free and cannot be handed out.
  ///
  /// - Returns: whether there was anything to do: the pool is not full, and the node has more free frames besides than
  ///   the pool could hold.
  @discardableResult
  @inlinable public borrowing func zeroOneFrame() -> Bool {
    let lists = FreeLists(records: records, node: nodes + homeNode())
    // Without the lock: idle CPUs that find the pool full disturb nobody.
    guard lists.pool.count < lists.node.pointee.poolLimit else { return false }
    let state = machine.lock(lists.lock)
    guard lists.node.pointee.freeFrames > lists.node.pointee.poolLimit else {
      machine.unlock(lists.lock, restoring: state)
      return false
    }
    let index = takeBlock(order: 0, from: lists, purpose: .metadata)
    lists.node.pointee.clearing &+= 1
    machine.unlock(lists.lock, restoring: state)

    _ = clear(frame(at: index), order: 0)

    let again = machine.lock(lists.lock)
    lists.node.pointee.clearing &-= 1
    let pool = lists.pool
    lists.record(index).tag = lists.record(index).tag.with(state: FrameState.listed)
    let isWanted = pool.count < lists.node.pointee.poolLimit
    if isWanted {
      lists.record(index).next = pool.first
      lists.pool = pool.adding(index)
    } else {
      lists.release(index)
    }
    machine.unlock(lists.lock, restoring: again)
    return isWanted
  }

  /// Clears free frames of the current CPU's node until its pool is full.
  ///
  /// - Parameter budget: how many frames at most.
  /// - Returns: how many were cleared.
  @discardableResult
  @inlinable public borrowing func fillZeroedPool(budget: Int) -> Int {
    var count = 0
    while count < budget, zeroOneFrame() { count &+= 1 }
    return count
  }
}
