// A flush: it releases all freed areas, those of all CPUs, and idle tables and empty chunks.
//
// 1. under the locks: all lists are taken
// 2. one invalidation of leaf entries, if something waited for one
// 3. leaf entries emptied, addresses given back
// 4. under the lock: pages without records taken; tables without entries and the tables of chunks without areas are retired
// 5. one invalidation of table entries, if there are any
// 6. under the lock: retired tables collected
// 7. frames freed
//
// Between 4 and 6 other CPUs may link a retired table of the tree again: it is the same table at the same addresses, so 6
// finds it valid and leaves it. By `flushLock` a retired table belongs to the one flush that is under way.
//
// A chunk to be released is first taken out of the directory. A CPU that has looked it up before, for an address of no
// area, holds its own lock meanwhile: so each of these locks is taken once before the chunk's frame is freed.

import KernelMachine
import Synchronization

extension VmallocArea {
  /// Releases all freed areas, idle tables and empty chunks, with their addresses: by one invalidation for areas and one
  /// for tables.
  ///
  /// A few pages at most that another CPU is about to free are left to it.
  ///
  /// - Returns: the number of frames freed; 0 if nothing was waiting, and then no invalidation was made.
  /// - Complexity: O(pages that wait + translation tables of the range).
  @discardableResult
  public borrowing func flush<Frames: FrameSource & ~Copyable>(frames: borrowing Frames) -> Int {
    guard let state = publishedState() else { return 0 }
    var freed = FrameChain()
    let interrupts = machine.lock(state.flushLock)
    completeFreed(state, into: &freed)
    releaseIdleTables(state, into: &freed)
    // Before the lock is released: a CPU that waits for it is short of memory, and is to find these frames.
    let count = freed.count
    freed.giveBack(to: frames, machine: machine)
    if count > 0 { state.flushCount.pointee.wrappingAdd(1, ordering: .releasing) }
    machine.unlock(state.flushLock, restoring: interrupts)
    return count
  }

  /// The number of flushes that have freed a frame.
  var flushCount: UInt {
    borrowing get {
      guard let state = publishedState() else { return 0 }
      return state.flushCount.pointee.load(ordering: .acquiring)
    }
  }

  /// Steps 1 to 3.
  borrowing func completeFreed(_ state: VmallocStatePointer, into freed: inout FrameChain) {
    let small = state.small
    var list = SmallAreaList()
    var lowest = UInt.max
    var highest: UInt = 0
    if let small {
      for cpu in 0..<SmallAreas.recordCount {
        let interrupts = machine.lock(small.lock(cpu))
        let record = small.record(cpu)
        if record.pointee.pending.head != 0 {
          let bounds = Self.takeBounds(record)
          lowest = min(lowest, bounds.lowerBound.rawValue)
          highest = max(highest, bounds.upperBound.rawValue)
        }
        small.move(&record.pointee.pending, to: &list)
        small.move(&record.pointee.ready, to: &list)
        machine.unlock(small.lock(cpu), restoring: interrupts)
      }
    }
    let interrupts = machine.lock(state.lock)
    let retired = takeRetired(state)
    let ready = state.state.pointee.ready
    state.state.pointee.ready = nil
    machine.unlock(state.lock, restoring: interrupts)
    if let retired {
      let bounds = Self.bounds(of: retired)
      lowest = min(lowest, bounds.lowerBound.rawValue)
      highest = max(highest, bounds.upperBound.rawValue)
    }
    if lowest < highest {
      machine.invalidate(
        VirtualAddressRange(VirtualAddress(lowest), VirtualAddress(highest)), in: .kernel, scope: .leaves)
    }
    if let small {
      let waiting = list.pages
      collect(&list, pages: waiting, small, into: &freed)
    }
    complete(retired, state, into: &freed)
    complete(ready, state, into: &freed)
  }

  /// Step 3 for a list of areas of the tree.
  borrowing func complete(
    _ batch: AreaPointer?, _ state: VmallocStatePointer, into freed: inout FrameChain
  ) {
    var next = batch
    while let area = next {
      next = area.pointee.link
      let count = Int(area.pointee.waitingPages)
      let interrupts = machine.lock(state.lock)
      collect(area, pages: count, in: state, into: &freed)
      state.state.pointee.figures.retiredPages &-= count
      forget(area, in: state, &freed)
      machine.unlock(state.lock, restoring: interrupts)
    }
  }

  /// Steps 4 to 6.
  borrowing func releaseIdleTables(_ state: VmallocStatePointer, into freed: inout FrameChain) {
    let tables = tables
    var changed = TableBounds()
    var interrupts = machine.lock(state.lock)
    if state.state.pointee.mayHaveIdleTables {
      state.state.pointee.mayHaveIdleTables = false
      retireIdleTables(state, &changed)
    }
    while let frame = state.state.pointee.records.takeUnused() { freed.push(frame, machine: machine) }
    let chunkFrames = retireChunks(state, &changed)
    machine.unlock(state.lock, restoring: interrupts)
    guard changed.lowest < changed.highest else { return }

    machine.invalidate(changed.range, in: .kernel, scope: .tables)
    if let small = state.small, chunkFrames.count > 0 {
      for cpu in 0..<SmallAreas.recordCount {
        machine.unlock(small.lock(cpu), restoring: machine.lock(small.lock(cpu)))
      }
    }

    interrupts = machine.lock(state.lock)
    var swept = FrameChain()
    tables.sweepAllTables(changed.range, into: &swept)
    state.state.pointee.figures.tableFrames &-= swept.count
    if let small = state.small, chunkFrames.count > 0 {
      for index in 0..<chunkCount {
        let entry = small.entry(index)
        if entry.pointee.load(ordering: .relaxed) == SmallAreas.releasing {
          entry.pointee.store(0, ordering: .relaxed)
        }
      }
    }
    machine.unlock(state.lock, restoring: interrupts)
    freed.append(&swept, machine: machine)
    var records = chunkFrames
    freed.append(&records, machine: machine)
  }

  /// Retires the tables between stack arenas that have no live entry; the lock is held.
  borrowing func retireIdleTables(_ state: VmallocStatePointer, _ changed: inout TableBounds) {
    var lower = range.lowerBound.rawValue
    var area = state.state.pointee.areas.first
    while true {
      let isLast = area == state.state.pointee.areas.sentinel
      if isLast || area.pointee.kind == .stacks {
        retireTables(lower, area.pointee.start, &changed)
        lower = area.pointee.end
      }
      if isLast { return }
      area = area.pointee.next.unsafelyUnwrapped
    }
  }

  /// Retires the chunks without areas; the lock is held.
  ///
  /// - Returns: their frames, not to be freed while a CPU that has looked one of them up may use it.
  borrowing func retireChunks(
    _ state: VmallocStatePointer, _ changed: inout TableBounds
  ) -> FrameChain {
    var frames = FrameChain()
    guard let small = state.small else { return frames }
    for index in 0..<chunkCount {
      guard let chunk = small.chunk(index), chunk.isEmpty else { continue }
      let owner = chunk.header.pointee.owner
      let interrupts = machine.lock(small.lock(owner))
      // Read again: under this lock no CPU can take a page.
      let isEmpty = chunk.isEmpty
      if isEmpty { small.remove(chunk, from: owner) }
      machine.unlock(small.lock(owner), restoring: interrupts)
      if isEmpty {
        let span = chunkSpan(index)
        retireTables(span.lowerBound.rawValue, span.upperBound.rawValue, &changed)
        state.state.pointee.chunks &-= 1
        frames.push(chunk.header.pointee.frame, machine: machine)
      }
    }
    return frames
  }

  borrowing func retireTables(_ lower: UInt, _ upper: UInt, _ changed: inout TableBounds) {
    guard lower < upper else { return }
    let span = VirtualAddressRange(VirtualAddress(lower), VirtualAddress(upper))
    _ = tables.withdraw(span) { _, _, _, _ in
      0
    } retiring: { first, last in
      changed.add(first, last)
    }
  }
}

/// The bounds of the addresses that the retired tables translate.
struct TableBounds {
  var lowest = UInt.max
  var highest: UInt = 0

  init() {}

  mutating func add(_ first: UInt, _ last: UInt) {
    lowest = min(lowest, first & ~4095)
    highest = max(highest, (last | 4095) &+ 1)
  }

  var range: VirtualAddressRange {
    VirtualAddressRange(VirtualAddress(lowest), VirtualAddress(highest))
  }
}
