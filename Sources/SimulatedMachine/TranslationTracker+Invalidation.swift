// What an invalidation drops, and what may be cached again at once.

import KernelMachine

extension TranslationTracker {
  /// Completes an invalidation of `lower..<upper`.
  ///
  /// A last-level entry is dropped when its page lies in the range, a block or a table when its span overlaps it, and
  /// each only if the scope names its kind. What a walker could fetch again is not dropped: an older value that another
  /// CPU has not published over, and the entries of a table that a stale table entry leads to.
  func invalidate(_ lower: UInt, _ upper: UInt, space: UInt16, scope: InvalidationScope) {
    let coversAll =
      lower == 0 && upper == UInt.max || space != 0 && lower == 0 && upper >= 1 << UInt(split.bits)
    if coversAll, scope == .tablesAndLeaves, space != 0, let known = spaces[space], known.activeCPUs == 0 {
      forget(space: space)
      return
    }
    guard !stale.isEmpty, lower < upper else { return }
    for key in keys(lower, upper, space).sorted(by: { Self.level(ofKey: $0) < Self.level(ofKey: $1) }) {
      drop(key, scope)
    }
  }

  private func keys(_ lower: UInt, _ upper: UInt, _ space: UInt16) -> [UInt64] {
    let last = upper - 1
    if (last - lower) >> 12 < UInt(stale.count) {
      var found: [UInt64] = []
      for level in split.rootLevel...3 {
        let shift = AddressSplit.shift(level)
        for index in (lower >> shift)...(last >> shift) {
          let key = Self.staleKey(space, level, index << shift)
          if stale[key] != nil { found.append(key) }
        }
      }
      return found
    }
    return stale.keys.filter { key in
      guard Self.space(ofKey: key) == space else { return false }
      let first = address(ofKey: key)
      return first <= last && first + (AddressSplit.span(Self.level(ofKey: key)) - 1) >= lower
    }
  }

  private func drop(_ key: UInt64, _ scope: InvalidationScope) {
    let level = Self.level(ofKey: key)
    var tableFrames: [UInt] = []
    filterStale(key) { item in
      let isTable = Self.isTable(item.value, level)
      if scope == (isTable ? .leaves : .tables) { return true }
      if let items = pending[item.entry], items.contains(where: { Self.walked($0.value, level) == item.value })
      {
        return true
      }
      if let table = placements[item.entry >> 12], !table.isLinked,
        Self.walked(memory[word: item.entry], level) == item.value
      {
        return true
      }
      if isTable { tableFrames.append(Self.frame(item.value)) }
      return false
    }
    // A table that is no longer in the tree, and to which no stale entry leads, is a table no more.
    for frame in tableFrames {
      guard let placement = placements[frame], !placement.isLinked else { continue }
      let isNamed =
        stale[key]?.contains { Self.isTable($0.value, level) && Self.frame($0.value) == frame } ?? false
      if !isNamed { placements[frame] = nil }
    }
  }

  // MARK: User spaces

  /// A CPU starts to walk a user space.
  func activate(space: UInt16, root: UInt, by cpu: Int) {
    if let known = spaces[space] {
      if known.root == root, placements[root]?.space == space {
        spaces[space]!.activeCPUs += 1
        spaces[space]!.unwalked.removeAll()
        return
      }
      let placedLevel = placements[known.root]?.level ?? split.rootLevel
      if known.activeCPUs > 0 || !isEmptyTable(known.root, placedLevel) || hasStale(space: space) {
        find(
          .addressSpaceIDReused, "identifier \(space) names another space whose translations could be cached",
          oldFrame: known.root, newFrame: root)
      }
      forget(space: space)
    }
    if let known = placements[root] {
      find(
        .tableLinkedTwice, "the root of space \(space) is a table of space \(known.space)", oldFrame: root)
      return
    }
    checkFrame(root, "a frame became a root table", exceptEntry: nil, tablesToo: true)
    if unpublishedClears[cpu].contains(root) {
      find(
        .unpublishedTable, "a root table was activated before the clearing of its frame was published",
        newFrame: root)
    }
    spaces[space] = Space(root: root, activeCPUs: 1)
    placements[root] = Placement(space: space, level: split.rootLevel, base: 0, isLinked: true, isRoot: true)
    enter(root, by: cpu)
  }

  /// A CPU no longer walks a user space; what it has cached stays.
  func deactivate(space: UInt16) { spaces[space]?.activeCPUs -= 1 }

  /// Nothing of a space is cached any more, and nobody walks it.
  func forget(space: UInt16) {
    spaces[space] = nil
    for (frame, placement) in placements where placement.space == space { placements[frame] = nil }
    for key in stale.keys.filter({ Self.space(ofKey: $0) == space }) { filterStale(key) { _ in false } }
  }
}
