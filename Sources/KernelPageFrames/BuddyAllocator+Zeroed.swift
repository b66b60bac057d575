// The pool of zeroed frames of each node: idle CPUs fill it, requests for cleared frames take from it.
//
//        blocks of the node                 being cleared                pool
//     +---------------------+  lock     +------------------+  lock   +--------------+   lock
//     | smallest one first  | --------> | not available    | ------> | reads as zero| --------> lists of CPUs
//     +---------------------+           +------------------+         +--------------+
//     \___________ all this is freeFrames of the node, at every moment ___________/
//
// Protocol
//   1. A frame on its way to the pool stays in its node's count of free frames, and so does one in the pool: idle CPUs
//      do not change that count.
//   2. A request that would be refused, and a caller that inspects the free blocks, keeps CPUs from beginning to clear
//      (``pauseClearing()``) and waits for those that have begun: then every free frame is in a block, a list or a
//      pool, and no frame is refused or counted otherwise because a CPU clears it.
//   3. A CPU that clears waits for no other meanwhile, and is not switched out: so 2 takes as long as clearing a frame.

import KernelMachine
import Synchronization

extension BuddyAllocator {
  /// The most zeroed frames that a node's pool holds: a 64th of its memory, at most 4 MiB; 0 where no CPU keeps lists, and
  /// if there is no such node.
  public borrowing func zeroedFrameLimit(on node: NodeID) -> Int {
    isNode(node) ? nodes[node.index].zeroedPoolLimit : 0
  }

  /// The number of zeroed frames of a node, in its pool and in the lists of its CPUs; 0 if there is no such node.
  ///
  /// - Complexity: O(CPUs).
  public borrowing func zeroedFrames(on node: NodeID) -> Int {
    guard isNode(node) else { return 0 }
    var count = FreeLists(records: records, node: nodes + node.index).zeroedPool.count
    for cpu in 0..<listedCPUs where (cpuLists + cpu).pointee.homeNode == node.index {
      count &+= (cpuLists + cpu).pointee.zeroed.value.count
    }
    return count
  }

  /// Clears one free frame of the current CPU's node for the node's pool.
  ///
  /// For an idle CPU, which calls it each time before it looks for work again. While it clears, no lock is held and
  /// interrupts are as the caller has them; the frame counts as free and cannot be handed out. Requests that would be
  /// refused wait for it, so a caller that could be switched out turns interrupts off.
  ///
  /// - Returns: whether a frame was cleared: the pool was not full, the node had more other free frames than the pool can
  ///   hold, and clearing was not paused.
  /// - Complexity: O(1): at most 10 splits, and the clearing of 4 KiB.
  @discardableResult
  public borrowing func zeroOneFrame() -> Bool {
    let lists = FreeLists(records: records, node: nodes + homeNode())
    // Without the lock: idle CPUs that find the pool full disturb no other CPU.
    guard lists.zeroedPool.count < lists.node.pointee.zeroedPoolLimit else { return false }
    let state = machine.lock(lists.lock)
    let index = takeToClear(from: lists)
    machine.unlock(lists.lock, restoring: state)
    guard index != Self.noIndex else { return false }

    machine.clear(machine.linearAddress(of: frame(at: index)), byteCount: pageSize)

    let again = machine.lock(lists.lock)
    lists.node.pointee.clearing &-= 1
    let pool = lists.zeroedPool
    lists.record(index).next = pool.first
    lists.zeroedPool = pool.adding(index)
    machine.unlock(lists.lock, restoring: again)
    return true
  }

  /// Takes a frame out of the smallest block there is, if one is to be cleared; it still counts as free.
  ///
  /// The lock is held. The pool has room for all frames that are being cleared.
  ///
  /// - Returns: its index, or ``noIndex``.
  borrowing func takeToClear(from lists: FreeLists) -> UInt32 {
    let node = lists.node
    let limit = node.pointee.zeroedPoolLimit
    let zeroed = lists.zeroedPool.count &+ node.pointee.clearing
    guard node.pointee.pauses == 0, zeroed < limit, node.pointee.freeFrames &- zeroed > limit else {
      return Self.noIndex
    }
    // There are blocks: more is free than the pool and the frames being cleared.
    let order = node.pointee.nonEmptyOrders.trailingZeroBitCount
    let index = lists.pop(order: order)
    let tag = lists.record(index).tag
    if order > 0 { lists.split(index, from: order, to: 0, range: tag) }
    lists.record(index).tag = tag.with(state: FrameState.listed)
    node.pointee.clearing &+= 1
    return index
  }

  // MARK: Without clearing

  /// Keeps all CPUs from clearing frames for the pools until ``resumeClearing()``, and waits for those that have begun.
  ///
  /// When it returns, every free frame is in a block, in a list of a CPU or in a pool. Pauses may nest, and may be of
  /// several CPUs at once. The caller holds no lock.
  ///
  /// - Complexity: O(nodes); waits for as long as clearing a frame takes.
  public borrowing func pauseClearing() {
    for number in 0..<nodeCount where listedCPUs != 0 {
      let lists = FreeLists(records: records, node: nodes + number)
      var state = machine.lock(lists.lock)
      lists.node.pointee.pauses &+= 1
      while lists.node.pointee.clearing != 0 {
        // The CPU that clears needs the lock to finish.
        machine.unlock(lists.lock, restoring: state)
        machine.relax()
        state = machine.lock(lists.lock)
      }
      machine.unlock(lists.lock, restoring: state)
    }
  }

  /// Ends one pause of ``pauseClearing()``.
  public borrowing func resumeClearing() {
    for number in 0..<nodeCount where listedCPUs != 0 {
      let lists = FreeLists(records: records, node: nodes + number)
      let state = machine.lock(lists.lock)
      lists.node.pointee.pauses &-= 1
      machine.unlock(lists.lock, restoring: state)
    }
  }

  /// The number of frames cleared because a request for cleared frames found none in lists and pools.
  ///
  /// Frames that a caller clears itself are not included.
  public var framesClearedOnRequest: Int {
    borrowing get { Int(bitPattern: clearedOnRequest.pointee.load(ordering: .relaxed)) }
  }

  /// The word of the first node's record that counts them: at byte 160.
  var clearedOnRequest: UnsafeMutablePointer<Atomic<UInt>> {
    borrowing get { (UnsafeMutableRawPointer(nodes) + 160).assumingMemoryBound(to: Atomic<UInt>.self) }
  }

  /// Clears free frames of the current CPU's node until its pool is full.
  ///
  /// - Parameter budget: the most frames to clear.
  /// - Returns: the number of frames cleared.
  @discardableResult
  public borrowing func fillZeroedPool(budget: Int) -> Int {
    var count = 0
    while count < budget, zeroOneFrame() { count &+= 1 }
    return count
  }
}
