// The part of the vmalloc area that stacks live in. The arena owns the tables, the stack allocator owns the entries.
//
//         2 MiB boundary                                        2 MiB boundary
//   -----------+-----------+-----------------------------------+-----------+-------+-----------
//    general   | unused    | byteCount, for stacks             | unused    | guard | general
//   -----------+-----------+-----------------------------------+-----------+-------+-----------
//            start        base (base mod alignment = phase)               end
//
// No general area shares a last-level table with stacks: the counts of those tables stay 0, and only reading its entries
// shows whether one is empty.

import KernelMachine

// `StackArena` documents what has no comment here.
// swift-format-ignore: AllPublicDeclarationsHaveDocumentation
extension VmallocArea {
  public borrowing func reserveStackArea<Frames: FrameSource & ~Copyable>(
    byteCount: Int, alignment: Int, phase: Int, frames: borrowing Frames
  ) throws(StackArenaError) -> VirtualAddress {
    guard byteCount > 0, byteCount & 4095 == 0, byteCount <= range.byteCount, alignment >= 4096,
      alignment & (alignment &- 1) == 0, phase & 4095 == 0
    else { throw .noAddressSpace(requestedBytes: byteCount, largestGapBytes: range.byteCount) }
    let shape = AreaShape(
      byteCount: byteCount, guardBytes: pageSize, alignment: UInt(bitPattern: alignment),
      phase: UInt(bitPattern: phase), granularity: 2 << 20)
    do throws(VmallocError) {
      while true {
        let state = try openState(frames: frames)
        let area: AreaPointer
        do throws(VmallocError) {
          area = try reserve(shape, .stacks, caller: "stack arena", in: state, frames: frames)
        } catch {
          discard(state, frames: frames)
          throw error
        }
        if !state.isPrivate || publish(state) {
          let interrupts = machine.lock(state.lock)
          area.pointee.state = .live
          state.state.pointee.figures.areas &+= 1
          machine.unlock(state.lock, restoring: interrupts)
          return VirtualAddress(area.pointee.base)
        }
        unreserve(area, in: state, frames: frames)
        discard(state, frames: frames)
      }
    } catch {
      switch error {
      case .frames(let error): throw .frames(error)
      case .noAddressSpace(let requested, _, let largest):
        throw .noAddressSpace(requestedBytes: requested, largestGapBytes: largest)
      default: throw .noAddressSpace(requestedBytes: byteCount, largestGapBytes: 0)
      }
    }
  }

  public borrowing func releaseStackArea<Frames: FrameSource & ~Copyable>(
    at base: VirtualAddress, frames: borrowing Frames
  ) {
    guard let state = publishedState() else { return }
    let interrupts = machine.lock(state.lock)
    let area = state.state.pointee.areas.area(containing: base.rawValue)
    guard let area, area.pointee.kind == .stacks, area.pointee.base == base.rawValue else {
      machine.unlock(state.lock, restoring: interrupts)
      _checkFailed("no stack arena starts at the address")
      return
    }
    state.state.pointee.areas.remove(area)
    state.state.pointee.figures.areas &-= 1
    let frame = state.state.pointee.records.put(area)
    machine.unlock(state.lock, restoring: interrupts)
    if let frame { giveBackFrame(frame, to: frames) }
  }

  public borrowing func leafEntry<Frames: FrameSource & ~Copyable>(
    at address: VirtualAddress, node: NodeID?, frames: borrowing Frames
  ) throws(FrameSourceError) -> PhysicalAddress {
    guard range.contains(address), let state = publishedState() else {
      throw .foreignFrame(PageFrame(address.rawValue &>> 12))
    }
    if let location = existingLeafEntry(at: address, in: state) { return location }
    let page = VirtualAddressRange(address.pageBase, byteCount: pageSize)
    var spare = FrameChain()
    var found = PhysicalAddress(0)
    do throws(VmallocError) {
      // Mostly one table is missing, and rarely none: so the tables need not be counted twice.
      try grow(&spare, to: 1, node: node, purpose: .pageTable, frames: frames)
      _ = try linkLeafTable(page, spare: &spare, node: node, in: state, frames: frames) { found = $1 }
    } catch {
      spare.giveBack(to: frames, machine: machine)
      if case .frames(let error) = error { throw error }
      // Code outside this area has mapped a block there, which has no last-level entry.
      throw .foreignFrame(self.page(of: address) ?? PageFrame(address.rawValue &>> 12))
    }
    spare.giveBack(to: frames, machine: machine)
    return found
  }

  public borrowing func existingLeafEntry(at address: VirtualAddress) -> PhysicalAddress? {
    guard range.contains(address), let state = publishedState() else { return nil }
    return existingLeafEntry(at: address, in: state)
  }

  borrowing func existingLeafEntry(
    at address: VirtualAddress, in state: VmallocStatePointer
  ) -> PhysicalAddress? {
    let interrupts = machine.lock(state.lock)
    let location = tables.existingLeafEntry(at: address)
    machine.unlock(state.lock, restoring: interrupts)
    return location
  }

  public borrowing func releaseTables<Frames: FrameSource & ~Copyable>(
    covering range: VirtualAddressRange, to frames: borrowing Frames
  ) -> Int {
    let edge: UInt = (2 << 20) &- 1
    let lower = (range.lowerBound.rawValue &+ edge) & ~edge
    let upper = range.upperBound.rawValue & ~edge
    guard lower < upper, let state = publishedState() else { return 0 }
    let span = VirtualAddressRange(VirtualAddress(lower), VirtualAddress(upper))
    let tables = tables
    var lowest = UInt.max
    var highest: UInt = 0
    let outerInterrupts = machine.lock(state.flushLock)

    // The scan of a table ends at its first entry that is not empty, so only tables that are released are read to the end.
    var interrupts = machine.lock(state.lock)
    let retired = tables.withdraw(span) { location, address, count, _ in
      for index in 0..<count where !machine.readEntry(at: location + index &* 8).isEmpty { return -1 }
      lowest = min(lowest, address)
      highest = address &+ UInt(bitPattern: count) &<< 12
      return 0
    }
    machine.unlock(state.lock, restoring: interrupts)
    guard retired > 0 else {
      machine.unlock(state.flushLock, restoring: outerInterrupts)
      return 0
    }
    let changed = VirtualAddressRange(VirtualAddress(lowest), VirtualAddress(highest))
    // The entries of these tables were empty before: one instruction for each table does.
    machine.invalidate(changed, in: .kernel, scope: .tables)

    var freed = FrameChain()
    interrupts = machine.lock(state.lock)
    tables.sweepAllTables(changed, into: &freed)
    let count = freed.count
    state.state.pointee.figures.tableFrames &-= count
    machine.unlock(state.lock, restoring: interrupts)
    machine.unlock(state.flushLock, restoring: outerInterrupts)
    freed.giveBack(to: frames, machine: machine)
    return count
  }

  public borrowing func stackEntry(for frame: PageFrame) -> PageTableEntry {
    .page(frame, .kernelReadWrite, indices: machine.memoryAttributes)
  }

  // MARK: All areas

  /// Finds the frame behind an address of the vmalloc area, stacks included, by walking the tables.
  ///
  /// - Returns: `nil` where nothing is mapped, and outside the range.
  public borrowing func page(of address: VirtualAddress) -> PageFrame? {
    guard range.contains(address), let state = publishedState() else { return nil }
    let interrupts = machine.lock(state.lock)
    let leaf = tables.translate(address)
    machine.unlock(state.lock, restoring: interrupts)
    return leaf?.frame(of: address)
  }
}
