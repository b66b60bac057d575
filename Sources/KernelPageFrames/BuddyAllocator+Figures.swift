// How much memory is free, and how fragmented it is. Figures are read without locks, so that a crash report can show
// them: they are exact while no other CPU allocates, frees or merges. A sum misses frames that are being moved.
// The number of free frames is exact also while idle CPUs clear some; that of blocks only while clearing is paused.
//
// Frames in the lists of CPUs and in the pools of zeroed frames count as free blocks of order 0.

import KernelMachine

extension BuddyAllocator {
  /// The number of free frames on all nodes.
  ///
  /// - Complexity: O(nodes · CPUs).
  public var freeFrames: Int {
    borrowing get {
      var sum = 0
      for node in 0..<nodeCount { sum &+= nodes[node].freeFrames &+ listedFrames(on: node) }
      return sum
    }
  }

  /// The number of free frames on one node; 0 if there is no such node.
  ///
  /// - Complexity: O(CPUs).
  public borrowing func freeFrames(on node: NodeID) -> Int {
    isNode(node) ? nodes[node.index].freeFrames &+ listedFrames(on: node.index) : 0
  }

  /// The number of free frames of one node in the lists of CPUs.
  borrowing func listedFrames(on node: Int) -> Int {
    if listedCPUs == 0 { return 0 }
    var sum = 0
    for cpu in 0..<listedCPUs where (cpuLists + cpu).pointee.homeNode == node {
      sum &+= (cpuLists + cpu).pointee.ready.value.count &+ (cpuLists + cpu).pointee.zeroed.value.count
    }
    return sum
  }

  /// The number of free frames of one node in no block: in the lists of CPUs, in the pool, or on their way to it.
  borrowing func singleFrames(on node: Int) -> Int {
    listedFrames(on: node) &+ FreeLists(records: records, node: nodes + node).zeroedPool.count
      &+ nodes[node].clearing
  }

  /// A bit map of the orders of which the node has a free block.
  borrowing func freeOrders(on node: Int) -> UInt {
    nodes[node].nonEmptyOrders | (singleFrames(on: node) > 0 ? 1 : 0)
  }

  /// The number of usable frames of one node, free or not; 0 if there is no such node.
  public borrowing func totalFrames(on node: NodeID) -> Int {
    isNode(node) ? nodes[node.index].totalFrames : 0
  }

  /// The number of free blocks of exactly this order on one node; 0 if there is no such order or node.
  ///
  /// - Complexity: O(1); O(CPUs) for order 0.
  public borrowing func freeBlocks(ofOrder order: Int, on node: NodeID) -> Int {
    guard order >= 0, order <= Self.maximumOrder, isNode(node) else { return 0 }
    let listed = order == 0 ? singleFrames(on: node.index) : 0
    return Int(nodes[node.index].freeBlocks[order]) &+ listed
  }

  /// The number of free blocks of exactly this order on all nodes; 0 if there is no such order.
  ///
  /// - Complexity: O(nodes).
  public borrowing func freeBlocks(ofOrder order: Int) -> Int {
    var sum = 0
    for node in 0..<nodeCount { sum &+= freeBlocks(ofOrder: order, on: NodeID(node)) }
    return sum
  }

  /// The order of the largest free block on any node, or -1 when nothing is free.
  ///
  /// - Complexity: O(nodes).
  public var largestFreeOrder: Int {
    borrowing get {
      var orders: UInt = 0
      for node in 0..<nodeCount { orders |= freeOrders(on: node) }
      return UInt.bitWidth &- 1 &- orders.leadingZeroBitCount
    }
  }

  /// The order of the largest free block on one node, or -1 when nothing is free or there is no such node.
  ///
  /// - Complexity: O(1).
  public borrowing func largestFreeOrder(on node: NodeID) -> Int {
    isNode(node) ? UInt.bitWidth &- 1 &- freeOrders(on: node.index).leadingZeroBitCount : -1
  }

  /// The unusable free space index over all nodes: the share of free memory in blocks too small for this order.
  ///
  /// Source: M. Gorman, A. Whitcroft, "The What, The Why and the Where To of Anti-Fragmentation", OLS 2006.
  ///
  /// - Returns: 0 (all free memory can serve the order) to 1,000 (none can), rounded down; 1,000 when nothing is free
  ///   or there is no such order.
  /// - Complexity: O(nodes).
  public borrowing func unusableFreeSpacePermille(order: Int) -> Int {
    unusablePermille(order: order, nodes: 0..<nodeCount)
  }

  /// The unusable free space index of one node; 1,000 if there is no such node.
  ///
  /// - Complexity: O(1).
  public borrowing func unusableFreeSpacePermille(order: Int, on node: NodeID) -> Int {
    isNode(node) ? unusablePermille(order: order, nodes: node.index..<node.index + 1) : 1000
  }

  // (F − Σ 2ⁱ·kᵢ for i ≥ order) / F, where F is all free memory and kᵢ the number of free blocks of order i.
  borrowing func unusablePermille(order: Int, nodes numbers: Range<Int>) -> Int {
    guard order >= 0, order <= Self.maximumOrder else { return 1000 }
    var free = 0
    var unusable = 0
    for node in numbers {
      for size in 0...Self.maximumOrder {
        let frames = freeBlocks(ofOrder: size, on: NodeID(node)) &<< size
        free &+= frames
        if size < order { unusable &+= frames }
      }
    }
    return free == 0 ? 1000 : unusable * 1000 / free
  }

  borrowing func isNode(_ node: NodeID) -> Bool {
    UInt(bitPattern: node.index) < UInt(bitPattern: nodeCount)
  }
}
