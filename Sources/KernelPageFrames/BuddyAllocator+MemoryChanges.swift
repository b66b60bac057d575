// Memory that is handed over later, and memory that is taken back. It is RAM of the map that was reserved, so its records are
// there: nothing is allocated, and no table moves.
//
//     record says      reserved ---- addMemory ----> free <---> used
//                         ^                           |
//                         +------ removeMemory -------+    all frames of the run, in one step under the node's lock
//
// One CPU at a time changes memory. So no other CPU writes records that say `reserved`, or looks for a run that has left the free
// lists; these are written without the lock, however many they are.

import KernelMachine
import Synchronization

extension BuddyAllocator {
  /// Frees memory that has been reserved until now.
  ///
  /// - Parameters:
  ///   - start: where it begins, a multiple of a page.
  ///   - byteCount: its length in whole pages. All of it lies in one range of RAM of the map.
  /// - Throws: ``MemoryChangeError``; nothing has changed then.
  /// - Complexity: O(frames); the node's lock is taken for each block of up to 1,024 frames.
  @inline(never)
  public borrowing func addMemory(start: PhysicalAddress, byteCount: Int) throws(MemoryChangeError) {
    let (range, run) = try records(of: start, byteCount: byteCount)
    try beginChange()
    let tag = FrameTag(range: UInt32(truncatingIfNeeded: range - ranges), state: FrameState.reserved)
    for index in run where records[index].tag != tag {
      endChange()
      throw .notReserved(address(of: index, in: range))
    }
    set(run, to: tag.with(state: FrameState.inside))
    let lists = FreeLists(records: records, node: nodes + range.pointee.node)
    let state = machine.lock(lists.lock)
    noteChange(of: lists.node, by: run.count)
    machine.unlock(lists.lock, restoring: state)
    lists.forEachBlock(in: run) { lists, index, order in
      // It is freed as if it had been handed out.
      lists.record(index).tag = tag.with(state: FrameState.used, order: order)
      let frame = PageFrame(UInt(truncatingIfNeeded: index) &+ range.pointee.bias)
      do throws(FrameSourceError) { try freeBlock(frame, order: order) } catch {}
    }
    endChange()
  }

  /// Reserves memory, all frames of which are free: they are not handed out any more.
  ///
  /// Free frames in lists of CPUs and in the pool of zeroed frames count as free; those that a CPU is freeing at this moment do
  /// not.
  ///
  /// - Parameters:
  ///   - start: where it begins, a multiple of a page.
  ///   - byteCount: its length in whole pages. All of it lies in one range of RAM of the map.
  /// - Throws: ``MemoryChangeError``; the same frames are free, used and reserved then as before.
  /// - Complexity: O(CPUs + blocks + listed frames) under the node's lock, and O(frames) without it.
  @inline(never)
  public borrowing func removeMemory(start: PhysicalAddress, byteCount: Int) throws(MemoryChangeError) {
    let (range, run) = try records(of: start, byteCount: byteCount)
    try beginChange()
    pauseClearing()
    let lists = FreeLists(records: records, node: nodes + range.pointee.node)
    let state = machine.lock(lists.lock)
    releaseAll(of: range.pointee.node, to: lists)
    let obstacle = firstNotFree(in: run, of: lists)
    if obstacle == run.upperBound { takeOut(run, of: lists) }
    let isReserved = obstacle < run.upperBound && (records + obstacle).tag.state == FrameState.reserved
    machine.unlock(lists.lock, restoring: state)
    resumeClearing()
    if obstacle == run.upperBound {
      set(run, to: FrameTag(range: UInt32(truncatingIfNeeded: range - ranges), state: FrameState.reserved))
    }
    endChange()
    guard obstacle < run.upperBound else { return }
    throw isReserved ? .reserved(address(of: obstacle, in: range)) : .inUse(address(of: obstacle, in: range))
  }

  // MARK: One change at a time

  private borrowing func beginChange() throws(MemoryChangeError) {
    let isBegun = isChangingMemory.compareExchange(
      expected: 0, desired: 1, successOrdering: .acquiring, failureOrdering: .relaxed
    ).exchanged
    guard isBegun else { throw .changing }
  }

  private borrowing func endChange() { isChangingMemory.store(0, ordering: .releasing) }

  // MARK: Records

  /// The range that memory lies in, and the indices of its records.
  private borrowing func records(
    of start: PhysicalAddress, byteCount: Int
  ) throws(MemoryChangeError) -> (UnsafeMutablePointer<RangeRecord>, Range<Int>) {
    guard byteCount != 0, (start.rawValue | UInt(bitPattern: byteCount)) & 4095 == 0 else {
      throw .notWholeFrames(start)
    }
    let frame = start.frame
    let count = UInt(bitPattern: byteCount) &>> 12
    guard let range = range(of: frame),
      count <= range.pointee.frameCount &- (frame.number &- range.pointee.firstFrame)
    else { throw .outsideMemory(start) }
    let index = Int(bitPattern: frame.number &- range.pointee.bias)
    return (range, index..<index &+ Int(bitPattern: count))
  }

  private borrowing func address(of index: Int, in range: UnsafeMutablePointer<RangeRecord>) -> PhysicalAddress
  {
    PageFrame(UInt(bitPattern: index) &+ range.pointee.bias).physicalAddress
  }

  @inline(never) private borrowing func set(_ run: Range<Int>, to tag: FrameTag) {
    for index in run { (records + index).tag = tag }
  }

  // MARK: Under the lock of the node

  /// Counts frames that the node has won, or, below 0, lost.
  private borrowing func noteChange(of node: UnsafeMutablePointer<NodeRecord>, by count: Int) {
    node.pointee.totalFrames &+= count
    if listedCPUs != 0 { node.pointee.limitZeroedPool() }
    usableFrames.wrappingAdd(count, ordering: .relaxed)
  }

  /// The first record of a run whose frame is in no free block; the run's end if all are.
  private borrowing func firstNotFree(in run: Range<Int>, of lists: FreeLists) -> Int {
    var index = run.lowerBound
    while index < run.upperBound {
      let (head, tag) = lists.block(at: UInt32(truncatingIfNeeded: index))
      guard tag.state == FrameState.free else { return index }
      index = Int(head) &+ 1 &<< tag.order
    }
    return run.upperBound
  }

  /// Takes a run out of the free lists; what its first and its last block have beside it is put back.
  private borrowing func takeOut(_ run: Range<Int>, of lists: FreeLists) {
    noteChange(of: lists.node, by: 0 &- run.count)
    lists.node.pointee.freeFrames &-= run.count
    var index = run.lowerBound
    while index < run.upperBound {
      let (head, tag) = lists.block(at: UInt32(truncatingIfNeeded: index))
      lists.remove(head, order: tag.order)
      lists.record(head).tag = tag.with(state: FrameState.inside)
      let end = Int(head) &+ 1 &<< tag.order
      putBack(Int(head)..<max(run.lowerBound, Int(head)), to: lists, tag)
      putBack(min(run.upperBound, end)..<end, to: lists, tag)
      index = end
    }
  }

  /// Puts a part of a block into the free lists.
  ///
  /// The rest of the block is not free, so nothing merges.
  @inline(never)
  private borrowing func putBack(_ part: Range<Int>, to lists: FreeLists, _ range: FrameTag) {
    lists.forEachBlock(in: part) { lists, index, order in
      lists.push(index, order: order, tag: range.with(state: FrameState.free, order: order))
    }
  }
}
