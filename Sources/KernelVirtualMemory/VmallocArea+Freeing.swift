// Freeing areas: entries are retired at once, and everything else waits for an invalidation that many areas share.
//
// vfree    leaf entries retired; the area joins the list of those that wait. Its addresses stay taken.
// flush    1. under the lock: the list is taken; its areas' entries cease to count; tables without any are retired
//          2. one invalidation, of tables too if one was retired
//          3. leaf entries emptied, their frames collected
//          4. under the lock: retired tables collected, addresses and records given back
//          5. frames freed
//
// Meanwhile other CPUs may link a retired table again (then step 4 finds it valid and leaves it) or retire more areas
// (they count until the next flush, so their tables stay).

import KernelMachine

extension VmallocArea {
  /// Frees an area.
  ///
  /// Its frames and addresses are used for nothing before an invalidation has completed.
  ///
  /// Now and then it makes the invalidation for all that wait: when they are ``retiredPagesBound`` pages or
  /// ``retiredAreasBound`` areas.
  ///
  /// - Parameters:
  ///   - address: what ``vmalloc(size:alignment:guard:node:caller:frames:)`` returned.
  ///   - frames: where the memory came from.
  /// - Throws: ``VmallocError`` if no area in use starts there; nothing has changed then.
  /// - Complexity: O(log n) in the number of areas, plus the pages.
  @inlinable public borrowing func vfree<Frames: FrameSource & ~Copyable>(
    _ address: VirtualAddress, frames: borrowing Frames
  ) throws(VmallocError) {
    guard let state = publishedState() else { throw .foreignAddress(address) }
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
    state.state.pointee.figures.areas &-= 1
    state.state.pointee.figures.mappedPages &-= pageCount
    machine.unlock(state.lock, restoring: interrupts)

    retireLeaves(VirtualAddressRange(address, byteCount: area.pointee.byteCount))

    interrupts = machine.lock(state.lock)
    area.pointee.link = state.state.pointee.retired
    state.state.pointee.retired = area
    state.state.pointee.figures.retiredAreas &+= 1
    state.state.pointee.figures.retiredPages &+= pageCount
    let isEnough =
      state.state.pointee.figures.retiredPages >= Self.retiredPagesBound
      || state.state.pointee.figures.retiredAreas >= Self.retiredAreasBound
    machine.unlock(state.lock, restoring: interrupts)
    if isEnough { _ = flush(frames: frames) }
  }

  /// Why the area cannot be freed at this address.
  @inlinable borrowing func refusal(of area: AreaPointer, at address: VirtualAddress) -> VmallocError? {
    if area.pointee.kind == .stacks { return .stackArena(address) }
    if area.pointee.state == .building { return .foreignAddress(address) }
    if area.pointee.base != address.rawValue {
      return .notTheStart(address, of: VirtualAddress(area.pointee.base))
    }
    return area.pointee.state == .retired ? .doubleFree(address) : nil
  }

  /// Retires the leaf entries of an area that is not in use any more.
  ///
  /// They belong to it: no lock is needed.
  ///
  /// They are published here, since the invalidation may be made by another CPU, which publishes only its own stores:
  /// walkers that still saw the valid entries would cache them anew after it.
  @inlinable borrowing func retireLeaves(_ pages: VirtualAddressRange) {
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

  /// Makes one invalidation for all areas that wait for one, then gives their frames, empty tables and addresses back.
  ///
  /// - Returns: how many frames went back; 0 if nothing was waiting, and then no invalidation was made.
  @discardableResult
  @inlinable public borrowing func flush<Frames: FrameSource & ~Copyable>(frames: borrowing Frames) -> Int {
    guard let state = publishedState() else { return 0 }
    let tables = tables
    let outerInterrupts = machine.lock(state.flushLock)

    // 1. Take the list, and retire the tables that hold nothing else.
    var interrupts = machine.lock(state.lock)
    let batch = state.state.pointee.retired
    state.state.pointee.retired = nil
    var lowest = UInt.max
    var highest: UInt = 0
    var retiredTables = 0
    var next = batch
    while let area = next {
      lowest = min(lowest, area.pointee.base)
      highest = max(highest, area.pointee.base &+ UInt(bitPattern: area.pointee.byteCount))
      retiredTables &+= withdraw(area.pointee.pages)
      next = area.pointee.link
    }
    machine.unlock(state.lock, restoring: interrupts)
    guard batch != nil else {
      machine.unlock(state.flushLock, restoring: outerInterrupts)
      return 0
    }

    // 2.
    machine.invalidate(
      VirtualAddressRange(VirtualAddress(lowest), VirtualAddress(highest)), in: .kernel,
      scope: retiredTables > 0 ? .tablesAndLeaves : .leaves)

    // 3. The entries are still the areas' own, and their tables stay until step 4.
    var freed = FrameChain()
    next = batch
    while let area = next {
      collect(area.pointee.pages, into: &freed)
      next = area.pointee.link
    }

    // 4. Tables level by level, lowest first: an upper one may hold the retired descriptors of several areas' tables.
    interrupts = machine.lock(state.lock)
    let pageCount = freed.count
    if retiredTables > 0 {
      var level = 3
      while level > tables.rootLevel {
        next = batch
        while let area = next {
          tables.sweepTables(area.pointee.pages, ofLevel: level, into: &freed)
          next = area.pointee.link
        }
        level &-= 1
      }
      state.state.pointee.figures.tableFrames &-= freed.count &- pageCount
    }
    next = batch
    while let area = next {
      next = area.pointee.link
      state.state.pointee.areas.remove(area)
      state.state.pointee.figures.retiredAreas &-= 1
      if let frame = state.state.pointee.records.put(area) { freed.push(frame, machine: machine) }
    }
    state.state.pointee.figures.retiredPages &-= pageCount
    machine.unlock(state.lock, restoring: interrupts)
    machine.unlock(state.flushLock, restoring: outerInterrupts)

    // 5.
    let count = freed.count
    freed.giveBack(to: frames, machine: machine)
    return count
  }

  /// Takes the pages of a freed area out of the account.
  ///
  /// - Returns: how many tables were retired.
  @inlinable borrowing func withdraw(_ pages: VirtualAddressRange) -> Int {
    let tables = tables
    if let location = tables.leafTableDescriptor(of: pages) {
      let descriptor = machine.readEntry(at: location)
      if descriptor.entryCount > pages.pageCount {
        machine.writeEntry(descriptor.withEntryCount(descriptor.entryCount &- pages.pageCount), at: location)
        return 0
      }
    }
    return tables.withdraw(pages) { _, _, count, _ in count }
  }

  /// Empties retired leaf entries whose invalidation has completed, and chains their frames.
  @inlinable borrowing func collect(_ pages: VirtualAddressRange, into chain: inout FrameChain) {
    tables.sweepLeaves(pages) { leaf in chain.push(leaf.entry.frame, machine: machine) }
  }
}

extension AreaRecord {
  /// The pages that a general area maps.
  @inlinable var pages: VirtualAddressRange { VirtualAddressRange(VirtualAddress(base), byteCount: byteCount) }
}
