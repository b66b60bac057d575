// Page-table stores, their publication, and TLB invalidation.

import KernelMachine

extension Simulation {
  func readEntry(at address: PhysicalAddress) -> PageTableEntry {
    step()
    guard address.rawValue % 8 == 0, let host = memory.host(address.rawValue) else {
      report(.invalidArgument, "an entry was read at \(hex(address)), which is unaligned or not memory")
      return .empty
    }
    speculate(at: address.rawValue)
    var value = host.load(as: UInt64.self)
    if let older = translations.olderValue(at: address.rawValue) {
      if random.next() & 1 == 0 { value = older } else { translations.noteSeen(address.rawValue) }
    }
    record(.readEntry, UInt64(address.rawValue), value)
    return PageTableEntry(rawValue: value)
  }

  func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {
    step()
    record(.writeEntry, UInt64(address.rawValue), entry.rawValue)
    guard address.rawValue % 8 == 0, memory.host(address.rawValue) != nil else {
      report(.invalidArgument, "an entry was written at \(hex(address)), which is unaligned or not memory")
      return
    }
    endExclusiveAccesses(to: address.rawValue..<address.rawValue + 8)
    translations.write(entry.rawValue, at: address.rawValue, by: running)
    collectFindings()
  }

  func updateEntry(
    at address: PhysicalAddress, _ update: (PageTableEntry) -> PageTableEntry?
  ) -> PageTableEntry? {
    step()
    guard address.rawValue % 8 == 0, let host = memory.host(address.rawValue) else {
      report(.invalidArgument, "an entry was updated at \(hex(address)), which is unaligned or not memory")
      return nil
    }
    let cpu = running
    let entry = host.load(as: UInt64.self)
    record(.loadExclusive, UInt64(address.rawValue), entry)
    translations.noteSeen(address.rawValue)
    exclusiveAccesses[cpu] = address.rawValue
    defer { exclusiveAccesses[cpu] = nil }
    guard let new = update(PageTableEntry(rawValue: entry)) else { return nil }
    step()
    let isStored =
      exclusiveAccesses[cpu] != nil && host.load(as: UInt64.self) == entry && random.next() & 7 != 0
    record(.storeExclusive, UInt64(address.rawValue), isStored ? new.rawValue : entry)
    guard isStored else { return nil }
    endExclusiveAccesses(to: address.rawValue..<address.rawValue + 8)
    translations.write(new.rawValue, at: address.rawValue, by: running, isAtomic: true)
    collectFindings()
    return PageTableEntry(rawValue: entry)
  }

  /// Has the exclusive stores fail to words that are stored to.
  func endExclusiveAccesses(to words: Range<UInt>) {
    for (cpu, word) in exclusiveAccesses where words.contains(word) { exclusiveAccesses[cpu] = nil }
  }

  func replaceEntry(_ expected: PageTableEntry, with entry: PageTableEntry, at address: PhysicalAddress) -> Bool
  {
    step()
    record(.replaceEntry, UInt64(address.rawValue), entry.rawValue)
    guard address.rawValue % 8 == 0, memory.host(address.rawValue) != nil else {
      report(.invalidArgument, "an entry was replaced at \(hex(address)), which is unaligned or not memory")
      return false
    }
    endExclusiveAccesses(to: address.rawValue..<address.rawValue + 8)
    speculate(at: address.rawValue)
    translations.noteSeen(address.rawValue)
    let isReplaced = translations.replace(
      expected.rawValue, with: entry.rawValue, at: address.rawValue, by: running)
    record(.replaceEntry, isReplaced ? 1 : 0)
    noteReplacement(expected, with: entry, at: address, isReplaced: isReplaced)
    collectFindings()
    return isReplaced
  }

  /// Counts a page that stays though no access went through its entry, and finds a replacement that expects another entry.
  private func noteReplacement(
    _ expected: PageTableEntry, with entry: PageTableEntry, at address: PhysicalAddress, isReplaced: Bool
  ) {
    if isReplaced {
      if entry == expected.accessed, entry != expected { untouchedPagesKept += 1 }
      return
    }
    if translations.speculated.remove(address.rawValue) != nil { untouchedPagesKept += 1 }
    let there = memory.host(address.rawValue)!.load(as: UInt64.self)
    // The access flag, and AP[2], which CPUs clear where they keep dirty state.
    if (there ^ expected.rawValue) & ~(1 << 10 | 1 << 7) != 0 {
      report(
        .invalidArgument, "an entry was to be replaced at \(hex(address)) that is another than was expected")
    }
  }

  /// Lets a walker set the flag of an untouched entry in one of eight cases, just before the program looks.
  private func speculate(at entry: UInt) {
    if configuration.updatesAccessFlags, translations.isUntouched(at: entry), random.next() & 7 == 0 {
      translations.touchSpeculatively(entry)
    }
  }

  func publishEntries() {
    step()
    record(.publish)
    translations.publish(by: running)
  }

  func completeAccesses() {
    step()
    record(.complete)
    translations.complete(by: running)
    collectFindings()
  }

  func invalidate(
    _ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope, by plan: InvalidationPlan
  ) {
    guard beginInvalidation(pages, in: space, scope: scope, by: plan) else { return }
    // Other CPUs run between the instructions and the barrier that waits for them, and the thread may move.
    step()
    translations.complete(by: running)
    collectFindings()
    if space == .kernel {
      counted.tlbInvalidations += 1
      counted.tlbInstructions += UInt64(plan.instructionCount)
    } else {
      userInvalidations += 1
    }
  }

  func beginInvalidation(
    _ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope, by plan: InvalidationPlan
  ) -> Bool {
    step()
    let lower = pages.lowerBound.rawValue
    let upper = pages.upperBound.rawValue
    record(.invalidate, UInt64(lower), UInt64(upper))
    record(.invalidate, UInt64(space.rawValue), UInt64(scope.rawValue))
    translations.publish(by: running)
    let everything = pages == .everything
    guard everything || (lower % UInt(pageSize) == 0 && upper % UInt(pageSize) == 0 && lower <= upper) else {
      report(
        .invalidArgument, "the range to invalidate ends at \(hex(upper)) and is not of whole pages",
        address: lower)
      return false
    }
    translations.issue(plan, lower, upper, space: space.rawValue, scope: scope, by: running)
    return true
  }

  func activate(root: PhysicalAddress?, space: AddressSpaceID) {
    step()
    record(.activate, UInt64(root?.rawValue ?? 0), UInt64(space.rawValue))
    let previous = cpus[running].userSpace
    cpus[running].userSpace = nil
    translations.leave(previous ?? 0)
    if let previous { translations.deactivate(space: previous) }
    defer { translations.come(to: cpus[running].userSpace ?? 0) }
    guard let root else { return }
    guard space != .kernel, root.rawValue % UInt(pageSize) == 0, memory.host(root.rawValue) != nil else {
      report(.invalidArgument, "space \(space.rawValue) cannot have its root table at \(hex(root))")
      return
    }
    translations.activate(space: space.rawValue, root: root.rawValue >> 12, by: running)
    collectFindings()
    cpus[running].userSpace = space.rawValue
  }
}
