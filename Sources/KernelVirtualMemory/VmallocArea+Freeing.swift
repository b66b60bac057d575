// Freeing areas: entries are retired at once, and everything else waits for an invalidation that many areas share.
//
// vfree    leaf entries retired; the area joins the list `retired`. Its addresses stay taken.
//          When enough wait, this free makes one invalidation for them: they are `ready`.
//          Otherwise it empties some of the entries of a ready area and frees their frames: as many pages as it
//          retires itself and a few more. With its last page a ready area leaves the tree, and its tables
//          count its entries no longer. Idle tables stay linked until a flush.
//
// So the work of one free does not grow with what waits. Small areas do the same with lists of each CPU
// (VmallocArea+SmallFreeing).

import KernelMachine

extension VmallocArea {
  /// Frees an area.
  ///
  /// Its frames and addresses are not reused before an invalidation has completed.
  ///
  /// When ``retiredPagesBound`` pages or ``retiredAreasBound`` areas wait, the call makes the invalidation for all of
  /// them. Later calls then free their frames, a few pages each.
  ///
  /// - Parameters:
  ///   - address: what ``vmalloc(size:alignment:guard:node:caller:frames:)`` returned.
  ///   - frames: where the memory came from.
  /// - Throws: ``VmallocError`` if no area in use starts there; nothing has changed then.
  /// - Complexity: small areas: O(1), plus its own pages. Others: O(log n) in the number of areas, plus its own pages.
  public borrowing func vfree<Frames: FrameSource & ~Copyable>(
    _ address: VirtualAddress, frames: borrowing Frames
  ) throws(VmallocError) {
    guard let state = publishedState() else { throw .foreignAddress(address) }
    if isInChunks(address), let small = state.small { return try freeSmall(address, small, frames: frames) }
    var interrupts = machine.lock(state.lock)
    guard let area = state.state.pointee.areas.area(containing: address.rawValue) else {
      machine.unlock(state.lock, restoring: interrupts)
      throw .foreignAddress(address)
    }
    if let error = refusal(of: area, at: address) {
      machine.unlock(state.lock, restoring: interrupts)
      throw error
    }
    area.pointee.state = .retired
    let pageCount = area.pointee.byteCount &>> 12
    area.pointee.waitingPages = UInt32(truncatingIfNeeded: pageCount)
    state.state.pointee.figures.areas &-= 1
    state.state.pointee.figures.mappedPages &-= pageCount
    machine.unlock(state.lock, restoring: interrupts)

    retireLeaves(VirtualAddressRange(address, byteCount: area.pointee.byteCount))

    var freed = FrameChain()
    var records = FrameChain()
    // Only this CPU can make ready the areas that it has taken for its invalidation, so it must not be delayed meanwhile.
    let outerInterrupts = machine.disableInterrupts()
    interrupts = machine.lock(state.lock)
    area.pointee.link = state.state.pointee.retired
    state.state.pointee.retired = area
    state.state.pointee.pendingAreas &+= 1
    state.state.pointee.pendingPages &+= pageCount
    state.state.pointee.figures.retiredAreas &+= 1
    state.state.pointee.figures.retiredPages &+= pageCount
    let isEnough =
      state.state.pointee.pendingPages >= Self.retiredPagesBound
      || state.state.pointee.pendingAreas >= Self.retiredAreasBound
    var batch: AreaPointer?
    if isEnough && state.state.pointee.ready == nil && !state.state.pointee.isInvalidating {
      batch = takeRetired(state)
      state.state.pointee.isInvalidating = true
    } else {
      collectReady(state, pages: max(pageCount &+ Self.pagesBesides, Self.leastPages), &freed, &records)
    }
    machine.unlock(state.lock, restoring: interrupts)
    if let batch {
      machine.invalidate(Self.bounds(of: batch), in: .kernel, scope: .leaves)
      interrupts = machine.lock(state.lock)
      state.state.pointee.ready = batch
      state.state.pointee.isInvalidating = false
      machine.unlock(state.lock, restoring: interrupts)
    }
    machine.restoreInterrupts(outerInterrupts)
    freed.giveBack(to: frames, machine: machine)
    records.giveBack(to: frames, machine: machine)
  }

  /// The reason why the area cannot be freed at this address; `nil` if it can.
  borrowing func refusal(of area: AreaPointer, at address: VirtualAddress) -> VmallocError? {
    if area.pointee.kind == .stacks { return .stackArena(address) }
    if area.pointee.state == .building { return .foreignAddress(address) }
    if area.pointee.base != address.rawValue {
      return .notTheStart(address, of: VirtualAddress(area.pointee.base))
    }
    return area.pointee.state == .retired ? .doubleFree(address) : nil
  }

  /// Retires the leaf entries of an area that is not in use any more.
  ///
  /// They belong to the area: no lock is needed.
  ///
  /// They are published here, since the invalidation may be made by another CPU, which publishes only its own stores:
  /// walkers that still saw the valid entries would cache them anew after it.
  borrowing func retireLeaves(_ pages: VirtualAddressRange) {
    let tables = tables
    var address = pages.lowerBound
    while address < pages.upperBound {
      var location = tables.existingLeafEntry(at: address).unsafelyUnwrapped
      repeat {
        machine.writeEntry(machine.readEntry(at: location).retired, at: location)
        location = location + 8
        address = address + 4096
      } while address < pages.upperBound && location.rawValue & 4095 != 0
    }
    machine.publishEntries()
  }

  /// Takes the list of areas that wait for an invalidation; the lock is held.
  borrowing func takeRetired(_ state: VmallocStatePointer) -> AreaPointer? {
    let batch = state.state.pointee.retired
    state.state.pointee.retired = nil
    state.state.pointee.pendingAreas = 0
    state.state.pointee.pendingPages = 0
    return batch
  }

  /// The range that the areas of a list span.
  static func bounds(of batch: AreaPointer) -> VirtualAddressRange {
    var lowest = UInt.max
    var highest: UInt = 0
    var next: AreaPointer? = batch
    while let area = next {
      lowest = min(lowest, area.pointee.base)
      highest = max(highest, area.pointee.base &+ UInt(bitPattern: area.pointee.byteCount))
      next = area.pointee.link
    }
    return VirtualAddressRange(VirtualAddress(lowest), VirtualAddress(highest))
  }

  /// Empties up to `pages` entries of ready areas; the lock is held.
  ///
  /// - Parameters:
  ///   - freed: gets the frames that were mapped.
  ///   - records: gets the frames that no longer hold a record in use.
  borrowing func collectReady(
    _ state: VmallocStatePointer, pages: Int, _ freed: inout FrameChain, _ records: inout FrameChain
  ) {
    var left = pages
    while left > 0, let area = state.state.pointee.ready {
      let count = min(left, Int(area.pointee.waitingPages))
      left &-= count
      collect(area, pages: count, in: state, into: &freed)
      state.state.pointee.figures.retiredPages &-= count
      if area.pointee.waitingPages > 0 { return }
      state.state.pointee.ready = area.pointee.link
      forget(area, in: state, &records)
    }
  }

  /// Empties the highest entries that an area still has, and chains their frames; the lock is held.
  ///
  /// Their invalidation has completed.
  borrowing func collect(
    _ area: AreaPointer, pages: Int, in state: VmallocStatePointer, into chain: inout FrameChain
  ) {
    let end = area.pointee.base &+ UInt(area.pointee.waitingPages) &<< 12
    area.pointee.waitingPages &-= UInt32(truncatingIfNeeded: pages)
    let tables = tables
    var address = end &- UInt(bitPattern: pages) &<< 12
    while address < end {
      let next = min((address | (2 << 20 - 1)) &+ 1, end)
      let part = VirtualAddressRange(VirtualAddress(address), VirtualAddress(next))
      let descriptorLocation = tables.leafTableDescriptor(of: part).unsafelyUnwrapped
      let descriptor = machine.readEntry(at: descriptorLocation)
      var location = TranslationTables<M>.location(
        of: address, in: descriptor.frame.physicalAddress, level: 3)
      while address < next {
        chain.push(machine.readEntry(at: location).frame, machine: machine)
        machine.writeEntry(.empty, at: location)
        location = location + 8
        address &+= 4096
      }
      let count = descriptor.entryCount &- part.pageCount
      machine.writeEntry(descriptor.withEntryCount(count), at: descriptorLocation)
      if count == 0 { state.state.pointee.mayHaveIdleTables = true }
    }
  }

  /// Releases the addresses and the record of an area whose entries are all empty; the lock is held.
  borrowing func forget(
    _ area: AreaPointer, in state: VmallocStatePointer, _ records: inout FrameChain
  ) {
    state.state.pointee.areas.remove(area)
    state.state.pointee.figures.retiredAreas &-= 1
    if let frame = state.state.pointee.records.put(area) { records.push(frame, machine: machine) }
  }
}
