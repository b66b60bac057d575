// What must hold between operations. Compiled to nothing unless INTERNAL_CHECKS is defined.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  #if INTERNAL_CHECKS
    /// Traps if a record contradicts another.
    ///
    /// No other CPU may use the allocator meanwhile.
    ///
    /// 1. A group is in the list of partial groups if and only if it has a table and a free slot, and all groups of a
    ///    table are with it or without it.
    /// 2. A free slot's entries are all empty; any other slot's marker says live, cached, retired or quarantined.
    /// 3. A live, cached or quarantined stack that does not grow is mapped, every page; a retired one is not, and its
    ///    entries name its frames.
    /// 4. A stack in a magazine or a depot is marked cached, and is in one of them once; the ring holds the retired slots,
    ///    once each.
    /// 5. The counts agree with the slots.
    /// 6. A growing stack's entries are valid from some page up to the top; of a cached one, the top page's alone. Of a
    ///    live one that is being shrunk, those below the valid ones may be retired, without a hole.
    /// 7. What reserves and refill pool hold is zero, and no more than there is room for.
    /// 8. A page of a cached stack whose entry is writable-clean reads as zero.
    /// 9. What is charged to a group are the frames of its live stacks.
    public borrowing func _checkInvariants() {
      let cached = checkMagazines()
      if isLinear { return }
      slots.checkLists()
      var used = 0
      var live = 0
      var marked = 0
      var retired = 0
      var liveFrames = 0
      for slot in 0..<layout.slotCount {
        guard let isFree = slots.checkedIsFree(slot) else { continue }
        if isFree {
          let window = stackEntries(ofSlot: slot) + -geometry.stackEntryOffset
          let entries = StackPages(from: window, to: window + geometry.windowEntryBytes)
          precondition(backedCount(of: entries) == 0, "a free slot has an entry")
          continue
        }
        used += 1
        let marker = marker(ofSlot: slot)
        // All that are neither cached nor retired count as live.
        if marker.isLive || marker.isQuarantined { live += 1 }
        if marker.isCached { marked += 1 }
        if marker.isRetired { retired += 1 }
        precondition(
          marker.isLive || marker.isCached || marker.isRetired || marker.isQuarantined,
          "a used slot has no marker")
        precondition(
          marker.deepestPageCount <= geometry.pageCount && (marker.deepestPageCount == 0 || marker.isLive),
          "a marker tells of more pages than there are, or of a life before")
        var mapped = 0
        var isShrinking = isGrowing && marker.isLive
        for page in 0..<geometry.pageCount {
          let entry = machine.readEntry(at: pages(ofSlot: slot)[page])
          if isGrowing, entry.isEmpty {
            precondition(mapped == 0 && page < geometry.pageCount - 1, "a growing stack has a hole")
            continue
          }
          mapped += 1
          if isShrinking, entry.isRetired, page < geometry.pageCount - 1 { continue }
          isShrinking = false
          precondition(marker.isRetired ? entry.isRetired : entry.isValid, "an entry contradicts its marker")
        }
        if marker.isLive || marker.isQuarantined { liveFrames += mapped }
        precondition(!isGrowing || !marker.isCached || mapped == 1, "a cached growing stack has not one page")
      }
      precondition(used <= layout.capacity, "there are more stacks than the capacity")
      precondition(used == usedSlotCount, "used slots are miscounted")
      precondition(live == liveStackCount, "live stacks are miscounted")
      precondition(marked == cached, "cached stacks are not those in the magazines")
      precondition(retired == ring.count, "retired slots are not those in the ring")
      var frames = 0
      for node in 0..<layout.nodeCount { frames += kernelStackKiB(on: NodeID(node)) / 4 }
      var lent = 0
      for cpu in 0..<layout.cpuCount where isGrowing { lent += reserve(ofCPU: cpu).pointee.lentCount }
      precondition(frames + lent == liveFrames, "frames of live stacks are miscounted")
      ring.check { slot in marker(ofSlot: slot).isRetired }
      checkReserves()
      for group in 0..<layout.stackGroupCount { checkCharges(group) }
    }

    private borrowing func checkMagazines() -> Int {
      var cached = 0
      for cpu in 0..<layout.cpuCount {
        let record = record(ofCPU: cpu)
        precondition(
          record.pointee.count >= 0 && record.pointee.count <= configuration.cachedStacksPerCPU,
          "a magazine has overflowed")
        cached += record.pointee.count
        checkCached(record.pointee.count) { record[cached: $0] }
      }
      var inDepots = 0
      for node in 0..<layout.nodeCount {
        let count = depot.count(ofNode: node)
        precondition(count >= 0, "a depot has less than nothing")
        inDepots += count
        checkCached(count) { depot[node: node, $0] }
        for index in 0..<count {
          precondition(depot[node: node, index].node == node, "a stack is in another node's depot")
        }
      }
      precondition(inDepots == depot.count, "the depots' stacks are miscounted")
      precondition(inDepots <= layout.depotLimit, "the depots have overflowed")
      return cached + inDepots
    }

    // A stack in two places would make more cached stacks than there are slots marked so.
    private borrowing func checkCached(_ count: Int, _ stacks: (Int) -> PackedStack) {
      if isLinear { return }
      for index in 0..<count {
        let stack = stacks(index)
        let marker = marker(ofSlot: slot(ofBase: stack.base))
        precondition(
          marker.isCached && marker.stack(at: stack.base) == stack, "a cached stack is not marked so")
        checkCleanPages(of: stack.base)
        for other in 0..<index { precondition(stacks(other).base != stack.base, "a stack is cached twice") }
      }
    }

    private borrowing func checkCharges(_ group: Int) {
      var frames = 0
      for slot in 0..<layout.slotCount {
        guard let marker = seenMarker(ofSlot: slot, base: base(ofSlot: slot)), marker.isLive, marker.isCharged,
          marker.group == group
        else { continue }
        frames += backedCount(of: pages(ofSlot: slot))
      }
      accounts.check(group, frames: frames)
    }

    private borrowing func checkCleanPages(of base: VirtualAddress) {
      guard clearsOnlyDirtyPages else { return }
      machine.completeAccesses()
      var rest = pages(ofBase: base)
      while let location = rest.popFirst() {
        let entry = machine.readEntry(at: location)
        if entry.isDirty { continue }
        let words = machine.pointer(to: entry.frame.physicalAddress).assumingMemoryBound(to: UInt64.self)
        for index in 0..<512 { precondition(words[index] == 0, "a clean page is not zero") }
      }
    }

    private borrowing func checkReserves() {
      let limit = layout.reserveLimit
      precondition(
        refillPool.count >= 0 && refillPool.count <= limit * layout.cpuCount, "the refill pool has overflowed")
      for index in 0..<refillPool.count { checkReserved(refillPool[index]) }
      for cpu in 0..<layout.cpuCount {
        let reserve = reserve(ofCPU: cpu)
        precondition(reserve.pointee.count >= 0 && reserve.pointee.count <= limit, "a reserve has overflowed")
        for index in 0..<reserve.pointee.count { checkReserved(reserve.reservedFrames[index]) }
      }
    }

    private borrowing func checkReserved(_ frame: ReservedFrame) {
      precondition(frame.entry.isValid, "a reserved frame's entry would not map it")
      let words = machine.pointer(to: frame.entry.frame.physicalAddress).assumingMemoryBound(to: UInt64.self)
      for index in 0..<512 { precondition(words[index] == 0, "a reserved frame is not zero") }
    }
  #else
    /// Nothing: internal checks are not compiled in.
    public borrowing func _checkInvariants() {}
  #endif
}
