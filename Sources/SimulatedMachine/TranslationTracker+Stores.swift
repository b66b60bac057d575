// The effect of a store to an entry, or of clearing a frame, on the values that CPUs may have cached.

import KernelMachine

extension TranslationTracker {
  /// Performs the store of an entry.
  ///
  /// - Parameter isAtomic: whether no CPU's update can have come between the last look at the old value and the store.
  func write(_ newValue: UInt64, at entry: UInt, by cpu: Int, isAtomic: Bool = false) {
    unorderedUpdates[entry] = nil
    if !speculated.isEmpty { speculated.remove(entry) }
    let host = memory.host(entry)!
    let oldValue = host.load(as: UInt64.self)
    host.storeBytes(of: newValue, as: UInt64.self)
    let table = entry >> 12
    checkFrame(table, "an entry was written into a frame", exceptEntry: nil, tablesToo: false)
    guard let placement = placements[table] else {
      if oldValue != newValue { addPending(oldValue, at: entry, by: cpu) }
      return
    }
    let level = placement.level
    let old = Self.walked(oldValue, level)
    let new = Self.walked(newValue, level)
    let address = placement.base &+ (entry & 0xfff) >> 3 * AddressSplit.span(level)
    if newValue & 1 != 0, new == 0 {
      find(.malformedEntry, "level \(level) has no descriptor \(hex(UInt(newValue)))", address: address)
    }
    guard old != new else { return }
    // A walker that still reads an untouched value cannot use it, since it cannot set the flag any more.
    let isUncached = isAtomic && isUntouched(old, level)
    if !isUncached { addPending(oldValue, at: entry, by: cpu) }
    if old != 0 {
      if new != 0, placement.isLinked, !Self.haveSameOutput(old, new), !isUnwalked(entry, placement.space) {
        find(
          .liveEntryChanged, "a valid level \(level) entry was changed without becoming invalid first",
          address: address, oldFrame: Self.frame(old), newFrame: Self.frame(new))
      }
      disappear(old, at: entry, placement, address, isUncached: isUncached)
    }
    if new != 0 {
      let isNewOutput = old == 0 || !Self.namesSame(old, new)
      appear(new, at: entry, placement, address, isNewOutput: isNewOutput, by: cpu)
    }
  }

  private func isUnwalked(_ entry: UInt, _ space: UInt16) -> Bool {
    spaces[space]!.unwalked.contains(entry)
  }

  /// Records that a valid value leaves the tables.
  private func disappear(
    _ old: UInt64, at entry: UInt, _ placement: Placement, _ address: UInt, isUncached: Bool
  ) {
    let wasWalked = spaces[placement.space]!.unwalked.remove(entry) == nil
    if wasWalked, !isUncached { addStale(old, at: entry, placement.space, placement.level, address) }
    guard Self.isTable(old, placement.level), placements[Self.frame(old)]?.isLinked == true else { return }
    unlink(Self.frame(old), wasWalked: wasWalked)
  }

  /// Records that a valid value enters the tables.
  private func appear(
    _ new: UInt64, at entry: UInt, _ placement: Placement, _ address: UInt, isNewOutput: Bool, by cpu: Int
  ) {
    let frame = Self.frame(new)
    let key = Self.staleKey(placement.space, placement.level, address)
    if placement.isLinked {
      noteValid(new, at: entry, placement.space, placement.level, key)
      filterStale(key) { $0.entry != entry || $0.value != new }
      if spaces[placement.space]!.activeCPUs == 0 { spaces[placement.space]!.unwalked.insert(entry) }
    } else {
      addStale(new, at: entry, placement.space, placement.level, address)
    }
    if isNewOutput {
      checkAddress(new, at: entry, key, address)
      if placement.level == 3 || Self.isTable(new, placement.level) {
        checkFrame(
          frame, Self.isTable(new, placement.level) ? "a frame was linked as a table" : "a frame was mapped",
          exceptEntry: entry, tablesToo: true, newAddress: address)
      } else {
        checkBlock(new, at: entry, placement.level, address)
      }
    }
    if Self.isTable(new, placement.level) {
      link(frame, placement.space, placement.level + 1, address, isReachable: placement.isLinked, by: cpu)
    }
  }

  // MARK: Tables

  private func link(
    _ table: UInt, _ space: UInt16, _ level: Int, _ base: UInt, isReachable: Bool, by cpu: Int
  ) {
    guard memory.contains(frame: table) else {
      find(.malformedEntry, "a table outside memory was linked", address: base, newFrame: table)
      return
    }
    if unpublishedClears[cpu].contains(table) {
      find(
        .unpublishedTable,
        "a table was linked before the clearing of its frame was published: walkers may find its old contents",
        address: base, newFrame: table)
    }
    if let known = placements[table], known.isLinked {
      if known.space != space || known.level != level || known.base != base {
        find(
          .tableLinkedTwice, "the table at \(hex(known.base)) of space \(known.space) was linked again",
          address: base, newFrame: table)
      }
      return
    }
    placements[table] = Placement(space: space, level: level, base: base, isLinked: isReachable, isRoot: false)
    enter(table, by: cpu)
  }

  /// Records that a table enters the tree, with all its valid entries.
  func enter(_ table: UInt, by cpu: Int) {
    let placement = placements[table]!
    var garbage = 0
    forEachValid(table, placement.level) { entry, value, index in
      let frame = Self.frame(value)
      let isDevice = value >> 2 & 7 == MemoryAttributeIndices.standard.device
      if !memory.contains(frame: frame), Self.isTable(value, placement.level) || !isDevice {
        garbage += 1
        return
      }
      let address = placement.base &+ index * AddressSplit.span(placement.level)
      appear(value, at: entry, placement, address, isNewOutput: true, by: cpu)
    }
    if garbage > 0 {
      find(
        .garbageTable, "the table holds \(garbage) valid entries that point outside memory",
        address: placement.base, newFrame: table)
    }
  }

  /// Records that a table leaves the tree; its valid entries may be or become cached through a stale table entry.
  private func unlink(_ table: UInt, wasWalked: Bool) {
    guard let placement = placements[table] else { return }
    if wasWalked { placements[table]!.isLinked = false } else { placements[table] = nil }
    forEachValid(table, placement.level) { entry, value, index in
      let address = placement.base &+ index * AddressSplit.span(placement.level)
      let wasEntryWalked = spaces[placement.space]!.unwalked.remove(entry) == nil
      if wasWalked, wasEntryWalked { addStale(value, at: entry, placement.space, placement.level, address) }
      if Self.isTable(value, placement.level), placements[Self.frame(value)]?.isLinked == true {
        unlink(Self.frame(value), wasWalked: wasWalked && wasEntryWalked)
      }
    }
  }

  func forEachValid(_ table: UInt, _ level: Int, _ body: (UInt, UInt64, UInt) -> Void) {
    guard let host = memory.host(table << 12) else { return }
    let words = UnsafeRawBufferPointer(start: host, count: pageSize)
    var offset = 0
    while offset < pageSize {
      let raw = words.load(fromByteOffset: offset, as: UInt64.self)
      if raw & 1 != 0 {
        let value = Self.walked(raw, level)
        if value != 0 { body((table << 12) + UInt(offset), value, UInt(offset >> 3)) }
      }
      offset += 8
    }
  }

  // MARK: The TLB rule

  /// Checks that an address gets a new translation only when no other can be cached for it.
  private func checkAddress(_ new: UInt64, at entry: UInt, _ key: UInt64, _ address: UInt) {
    guard !stale.isEmpty, let items = stale[key] else { return }
    for (position, item) in items.enumerated() where !item.wasReported {
      if item.entry == entry, Self.haveSameOutput(item.value, new) { continue }
      if item.entry != entry, isCurrent(item) { continue }
      stale[key]![position].wasReported = true
      find(
        .addressReused, "an address was mapped while its former translation could be cached", address: address,
        oldFrame: Self.frame(item.value), newFrame: Self.frame(new))
    }
  }

  /// Checks that a frame gets a new use only when no translation that has left the tables names it.
  ///
  /// - Parameter entry: the entry that is being written; the same frame at the same place is not a new use.
  func checkFrame(
    _ frame: UInt, _ use: String, exceptEntry entry: UInt?, tablesToo: Bool, newAddress: UInt? = nil
  ) {
    if !staleKeysOfFrame.isEmpty, let keys = staleKeysOfFrame[frame] {
      for key in keys.sorted() { checkFrame(frame, use, key, exceptEntry: entry, tablesToo, newAddress) }
    }
    if !staleBlockKeys.isEmpty {
      for key in staleBlockKeys.sorted() {
        checkFrame(frame, use, key, exceptEntry: entry, tablesToo, newAddress)
      }
    }
  }

  private func checkFrame(
    _ frame: UInt, _ use: String, _ key: UInt64, exceptEntry entry: UInt?, _ tablesToo: Bool,
    _ newAddress: UInt?
  ) {
    let level = Self.level(ofKey: key)
    for (position, item) in stale[key]!.enumerated() where !item.wasReported && item.entry != entry {
      let isTable = Self.isTable(item.value, level)
      if isTable, !tablesToo { continue }
      let first = Self.frame(item.value)
      let count = isTable ? 1 : AddressSplit.span(level) >> 12
      guard frame >= first, frame - first < count, !isCurrent(item) else { continue }
      stale[key]![position].wasReported = true
      let place = newAddress.map { " at \(hex($0))" } ?? ""
      find(
        .frameReused,
        "\(use)\(place) while a \(isTable ? "table entry" : "translation") that names it could be cached"
          + (item.asids.map { " under ASID \($0.sorted())" } ?? ""),
        address: address(ofKey: key), oldFrame: frame)
    }
  }

  private func checkBlock(_ new: UInt64, at entry: UInt, _ level: Int, _ address: UInt) {
    guard !stale.isEmpty else { return }
    let first = Self.frame(new)
    let count = AddressSplit.span(level) >> 12
    let frames = staleKeysOfFrame.keys.filter { $0 >= first && $0 - first < count }.sorted()
    for frame in frames {
      checkFrame(frame, "a frame was mapped", exceptEntry: entry, tablesToo: true, newAddress: address)
    }
    for key in staleBlockKeys.sorted() {
      for item in stale[key]! where Self.frame(item.value) < first + count {
        checkFrame(
          max(first, Self.frame(item.value)), "a frame was mapped", key, exceptEntry: entry, true, address)
      }
    }
  }

  /// Checks a frame that is about to be filled with zeroes.
  func willClear(frame: UInt, by cpu: Int) {
    if let placement = placements[frame] {
      let isIdleRoot =
        placement.isRoot && placement.space != 0 && spaces[placement.space]!.activeCPUs == 0
        && isEmptyTable(frame, placement.level) && !hasStale(space: placement.space)
      if isIdleRoot {
        forget(space: placement.space)
      } else {
        // One that left the tree, but could still be walked, is found below by the table entry that names it.
        if placement.isLinked {
          find(.tableOverwritten, "a table in use was cleared", address: placement.base, oldFrame: frame)
          unlink(frame, wasWalked: true)
        }
        placements[frame] = nil
      }
    }
    checkFrame(frame, "a frame was cleared", exceptEntry: nil, tablesToo: true)
    unpublishedClears[cpu].insert(frame)
  }

  func isEmptyTable(_ table: UInt, _ level: Int) -> Bool {
    var isEmpty = true
    forEachValid(table, level) { _, _, _ in isEmpty = false }
    return isEmpty
  }

  // MARK: Publication

  private func addPending(_ value: UInt64, at entry: UInt, by cpu: Int) {
    pending[entry, default: []].append(Pending(cpu: cpu, value: value))
    unpublishedEntries[cpu].append(entry)
  }

  /// Completes a CPU's stores, its updates of entries, and the invalidations that it has issued.
  func complete(by cpu: Int) {
    publish(by: cpu)
    orderUpdates(of: cpu)
    completeInvalidations(of: cpu)
  }

  /// Publishes a CPU's stores to the walkers; a published store replaces all older values of the same entry.
  func publish(by cpu: Int) {
    if !unpublishedEntries[cpu].isEmpty {
      for entry in unpublishedEntries[cpu] {
        guard let items = pending[entry], let last = items.lastIndex(where: { $0.cpu == cpu }) else { continue }
        let rest = items[(last + 1)...]
        pending[entry] = rest.isEmpty ? nil : Array(rest)
      }
      unpublishedEntries[cpu].removeAll(keepingCapacity: true)
    }
    if !unpublishedClears[cpu].isEmpty { unpublishedClears[cpu].removeAll() }
  }
}
