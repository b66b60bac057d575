// Merging the frames of lists and pools into blocks: when memory is short, and before blocks are inspected.
//
// Another CPU's list is taken as a whole, without that CPU's help: it may be idle, have interrupts off, or have stopped.

import KernelMachine

extension BuddyAllocator {
  /// Merges all frames in the lists of all CPUs and in the pools of zeroed frames.
  ///
  /// They count as free before and after. While no other CPU uses the allocator and clearing is paused, the free blocks
  /// are then the largest that alignment allows.
  ///
  /// - Returns: the number of frames merged.
  /// - Complexity: O(CPUs · nodes), plus O(frames merged).
  @discardableResult
  public borrowing func drain() -> Int {
    var count = 0
    for node in 0..<nodeCount where listedCPUs != 0 {
      count &+= drainZeroedPool(of: node)
      for cpu in 0..<listedCPUs { count &+= drainLists(of: cpu, node: node) }
    }
    return count
  }

  /// Merges all frames in the lists of one CPU, such as one that has stopped.
  ///
  /// - Parameter cpu: its number. It may be running.
  /// - Returns: the number of frames merged; 0 for a CPU that keeps no lists.
  /// - Complexity: O(frames merged).
  @discardableResult
  public borrowing func drain(cpu: Int) -> Int {
    guard cpu >= 0, cpu < listedCPUs else { return 0 }
    let home = (cpuLists + cpu).pointee.homeNode
    return home < 0 ? 0 : drainLists(of: cpu, node: home)
  }

  /// Merges the frames of one CPU's lists if they are of this node.
  ///
  /// The lock is not held.
  @inline(never) borrowing func drainLists(of cpu: Int, node: Int) -> Int {
    guard holdsFrames(cpu, of: node) else { return 0 }
    let lists = FreeLists(records: records, node: nodes + node)
    let state = machine.lock(lists.lock)
    let count = releaseLists(of: cpu, to: lists)
    machine.unlock(lists.lock, restoring: state)
    return count
  }

  /// Merges all zeroed frames of a node's pool, a batch at a time under the lock.
  @inline(never) borrowing func drainZeroedPool(of node: Int) -> Int {
    let lists = FreeLists(records: records, node: nodes + node)
    var count = 0
    while lists.zeroedPool.count != 0 {
      let state = machine.lock(lists.lock)
      count &+= releaseZeroedPool(atMost: CPUFrameLists.limit, to: lists)
      machine.unlock(lists.lock, restoring: state)
    }
    return count
  }

  /// Whether a CPU's lists hold any frames of a node.
  borrowing func holdsFrames(_ cpu: Int, of node: Int) -> Bool {
    let lists = cpuLists + cpu
    return lists.pointee.homeNode == node
      && lists.pointee.ready.value.count &+ lists.pointee.zeroed.value.count != 0
  }

  /// Merges the frames of one CPU's lists; the lock of their node is held.
  borrowing func releaseLists(of cpu: Int, to lists: FreeLists) -> Int {
    let ready = (cpuLists + cpu).pointee.ready.takeAll()
    let zeroed = (cpuLists + cpu).pointee.zeroed.takeAll()
    lists.release(ready.first, count: ready.count)
    lists.release(zeroed.first, count: zeroed.count)
    return ready.count &+ zeroed.count
  }

  /// Merges up to `limit` frames of the pool; the node's lock is held.
  borrowing func releaseZeroedPool(atMost limit: Int, to lists: FreeLists) -> Int {
    let pool = lists.zeroedPool
    let count = min(pool.count, limit)
    lists.zeroedPool = pool.removing(count, next: record(count, from: pool.first))
    // `release` counts them again, block by block.
    lists.node.pointee.freeFrames &-= count
    lists.release(pool.first, count: count)
    return count
  }

  /// Merges the frames of the pool and of all CPUs' lists of a node; the node's lock is held.
  @inline(never) borrowing func releaseAll(of node: Int, to lists: FreeLists) {
    _ = releaseZeroedPool(atMost: .max, to: lists)
    for cpu in 0..<listedCPUs where (cpuLists + cpu).pointee.homeNode == node {
      _ = releaseLists(of: cpu, to: lists)
    }
  }

  // MARK: Before a refusal

  /// Takes a block after merging lists and pools one by one until it fits, the preferred node's first.
  ///
  /// Clearing is paused, so that no free frame is elsewhere.
  ///
  /// - Returns: its first frame, or ``noBlock``.
  @inline(never)
  borrowing func takeDraining(_ request: FrameRequest, preferred: Int) -> PageFrame {
    var node = preferred
    for _ in 0..<nodeCount {
      // -1 stands for the pool, which comes first.
      for cpu in -1..<listedCPUs {
        let count = cpu < 0 ? drainZeroedPool(of: node) : drainLists(of: cpu, node: node)
        guard count > 0 else { continue }
        let frame = takeBlock(order: request.order, node: node, purpose: request.purpose)
        if frame != Self.noBlock { return frame }
      }
      node = node &+ 1 == nodeCount ? 0 : node &+ 1
    }
    // Meanwhile frames may have moved into a list that was found empty, or another CPU may have merged them.
    // No count shows that without the lock: a frame on its way between a list and the node is in none.
    for _ in 0..<nodeCount {
      let frame = takeLast(request, node: node)
      if frame != Self.noBlock { return frame }
      node = node &+ 1 == nodeCount ? 0 : node &+ 1
    }
    return Self.noBlock
  }

  /// Takes a block of a node after merging all its free frames under one lock: a block that is free throughout is found,
  /// wherever its frames were.
  @inline(never) borrowing func takeLast(_ request: FrameRequest, node: Int) -> PageFrame {
    let lists = FreeLists(records: records, node: nodes + node)
    let state = machine.lock(lists.lock)
    releaseAll(of: node, to: lists)
    let index = takeBlock(order: request.order, from: lists, purpose: request.purpose)
    machine.unlock(lists.lock, restoring: state)
    return index == Self.noIndex ? Self.noBlock : frame(at: index)
  }
}
