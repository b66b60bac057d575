// The values that an invalidation drops, and those that may be cached again at once.

import KernelMachine

/// The values that an invalidation drops when the CPU that has issued it waits for it.
struct IssuedInvalidation {
  /// A stale value, and the ASIDs under which it is dropped; `nil` for all.
  struct Drop {
    var key: UInt64
    var serial: UInt64
    var asid: UInt16?
  }

  /// In the order of their levels.
  var drops: [Drop] = []
  /// The user space that is dropped as a whole.
  var space: UInt16?
  /// The number of changes of user spaces when it was issued.
  var change: Int
}

extension TranslationTracker {
  /// Issues an invalidation of `lower..<upper`, which ``completeInvalidations(of:)`` completes.
  ///
  /// A last-level entry is dropped when its page lies in the range, a block or a table when its span overlaps it, and
  /// each only if the scope names its kind and an instruction of the plan reaches it. A real CPU may drop more; the
  /// simulation does not. Values that a walker could fetch again are not dropped: an older value that another CPU has not
  /// published over, and the entries of a table that a stale table entry leads to. Nor are values that become stale later.
  func issue(
    _ plan: InvalidationPlan, _ lower: UInt, _ upper: UInt, space: UInt16, scope: InvalidationScope, by cpu: Int
  ) {
    var invalidation = IssuedInvalidation(change: changes)
    let coversAll =
      lower == 0 && upper == UInt.max || space != 0 && lower == 0 && upper >= 1 << UInt(split.bits)
    if coversAll, scope == .tablesAndLeaves, space != 0, plan.instruction == .aside1is,
      let known = spaces[space], known.activeCPUs == 0
    {
      invalidation.space = space
    } else if !stale.isEmpty, lower < upper {
      var tablesGone: Set<UInt> = []
      for key in keys(lower, upper, space).sorted(by: { Self.level(ofKey: $0) < Self.level(ofKey: $1) }) {
        collect(key, plan, scope, &tablesGone, into: &invalidation.drops)
      }
    }
    issued[cpu].append(invalidation)
  }

  /// Collects the stale values of a key that are dropped.
  ///
  /// - Parameter tablesGone: the tables that no stale entry leads to any more then.
  private func collect(
    _ key: UInt64, _ plan: InvalidationPlan, _ scope: InvalidationScope, _ tablesGone: inout Set<UInt>,
    into drops: inout [IssuedInvalidation.Drop]
  ) {
    let level = Self.level(ofKey: key)
    guard reaches(plan, address(ofKey: key), level) else { return }
    let asid = plan.instruction.namesASID ? UInt16(truncatingIfNeeded: plan.operand >> 48) : nil
    var kept: Set<UInt> = []
    var gone: Set<UInt> = []
    for item in stale[key]! {
      let isTable = Self.isTable(item.value, level)
      let isMeant =
        scope != (isTable ? .leaves : .tables) && !(isTable && plan.instruction.isLastLevelOnly)
        && (asid == nil || item.asids?.contains(asid!) ?? (asid == Self.space(ofKey: key)))
      let isInTableGone = tablesGone.contains(item.entry >> 12) && pending[item.entry] == nil
      guard isMeant, isInTableGone || !canBeFetched(item, level) else {
        if isTable { kept.insert(Self.frame(item.value)) }
        continue
      }
      drops.append(IssuedInvalidation.Drop(key: key, serial: item.serial, asid: item.asids == nil ? nil : asid))
      if isTable {
        let isWhole = asid == nil || item.asids == nil || item.asids == [asid!]
        if isWhole { gone.insert(Self.frame(item.value)) } else { kept.insert(Self.frame(item.value)) }
      }
    }
    tablesGone.formUnion(gone.subtracting(kept))
  }

  /// Whether an instruction of a plan names an address that an entry of a level would be used for.
  private func reaches(_ plan: InvalidationPlan, _ base: UInt, _ level: Int) -> Bool {
    guard plan.instruction.namesAddress else { return true }
    guard plan.instructionCount > 0 else { return false }
    // VA[55:12]; bit 55 selects the half.
    let named = UInt(plan.operand & 0xfff_ffff_ffff)
    let first = Int(named >> 43 == 0 ? named : (named | ~0xfff_ffff_ffff) & UInt.max >> 12)
    let start = Int(base >> 12)
    // The first page at or above the entry's first one that is named, if there are so many.
    let index = (max(start - first, 0) + plan.operandStep - 1) / plan.operandStep
    let page = first + index * plan.operandStep
    return index < plan.instructionCount && page >= start && page - start < Int(AddressSplit.span(level) >> 12)
  }

  /// Completes the invalidations that a CPU has issued; only that CPU can wait for them.
  func completeInvalidations(of cpu: Int) {
    guard !issued[cpu].isEmpty else { return }
    for invalidation in issued[cpu] {
      if let space = invalidation.space, let known = spaces[space], known.activeCPUs == 0,
        lastUse[space, default: -1] < invalidation.change
      {
        forget(space: space)
      }
      for drop in invalidation.drops { carryOut(drop) }
    }
    issued[cpu].removeAll(keepingCapacity: true)
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

  private func carryOut(_ drop: IssuedInvalidation.Drop) {
    guard let position = stale[drop.key]?.firstIndex(where: { $0.serial == drop.serial }) else { return }
    let item = stale[drop.key]![position]
    if let asid = drop.asid {
      stale[drop.key]![position].asids!.remove(asid)
      if !stale[drop.key]![position].asids!.isEmpty { return }
    }
    filterStale(drop.key) { $0.serial != drop.serial }
    let level = Self.level(ofKey: drop.key)
    guard Self.isTable(item.value, level) else { return }
    // A frame that is no longer in the tree, and to which no stale entry leads, is no table any more.
    let frame = Self.frame(item.value)
    guard let placement = placements[frame], !placement.isLinked else { return }
    let isNamed =
      stale[drop.key]?.contains { Self.isTable($0.value, level) && Self.frame($0.value) == frame } ?? false
    if !isNamed { placements[frame] = nil }
  }

  // MARK: User spaces

  /// Records that a CPU starts to walk a user space.
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

  /// Records that a CPU no longer walks a user space; its cached values stay.
  func deactivate(space: UInt16) { spaces[space]?.activeCPUs -= 1 }

  /// Forgets a space: none of its values is cached any more, and no CPU walks it.
  func forget(space: UInt16) {
    spaces[space] = nil
    for (frame, placement) in placements where placement.space == space { placements[frame] = nil }
    for key in stale.keys.filter({ Self.space(ofKey: $0) == space }) { filterStale(key) { _ in false } }
  }
}
