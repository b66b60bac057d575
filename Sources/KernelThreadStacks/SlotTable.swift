// Which slots are free: slot groups, of up to 64 slots with a bitmap each, in lists. This file alone says group for short.
//
// The groups of one last-level table (several where a stride is below 32 KiB) get and lose it together:
//
//   bare (no table) --> changing --> partial <--> full        each group by itself
//     ^                                 |
//     +----------- changing <-----------+   all slots of all groups of the table are free
//
// A table is built and given back without holding the lock, because the arena may have to wait for memory; the state
// `changing` keeps all others off its groups meanwhile.
//
// Who may touch it, and when: the holder of the allocator's lock, on any CPU. What changes it takes a LockHeld. Without the lock,
// a group's location may be read by the owner of one of its stacks, for it does not change while one exists, and by look-ups, in
// two looks (TableView.swift). Entries are none of this file's business: a slot that is put back has none.

import KernelMachine
import Synchronization

/// A slot that was free: its slot group, that group's number, and the slot's number there.
struct FreeSlot {
  let slotGroup: UnsafeMutablePointer<SlotGroup>
  let index: Int
  let bit: Int
}

/// What a group of slots is doing.
private enum GroupState: UInt32 {
  /// Has no table, nor have the others of its table.
  case bare
  /// Someone builds or gives back the table without holding the lock; nobody else may touch the group, and look-ups find no
  /// table.
  case changing
  /// Has a table and a free slot; is in the list of such groups.
  case partial
  /// Has a table and no free slot.
  case full
}

/// Up to 64 neighbouring slots whose stacks share one last-level table: 32 bytes.
struct SlotGroup: ~Copyable {
  /// The physical address of the first window's first entry; 0 unless the state is partial or full.
  ///
  /// Written under the lock.
  let locationWord: Atomic<UInt>
  /// One bit for each free slot.
  fileprivate var free: UInt64 = 0
  /// The neighbours in the list, or -1.
  fileprivate var next: Int32 = -1
  fileprivate var previous: Int32 = -1
  fileprivate var state = GroupState.bare
  /// How many tables of the group have gone back (see TableView.swift).
  ///
  /// Written under the lock.
  let generation: Atomic<UInt32>

  init() {
    locationWord = Atomic(0)
    generation = Atomic(0)
  }

  /// The same as ``locationWord``, for the owner of a stack of the group, and for the holder of the lock.
  var location: UInt {
    @inline(__always) borrowing get { locationWord.load(ordering: .relaxed) }
  }
}

/// The groups and their lists: a view of the allocator's memory.
struct SlotTable {
  /// What the lists begin with.
  struct State {
    /// The first of the groups that have a table and a free slot, or -1.
    fileprivate var firstPartial: Int32 = -1
    /// The first of the tables that were there and went back, or -1; linked by their first groups' `next`.
    fileprivate var firstBareTable: Int32 = -1
    /// All tables from this one on were never there.
    fileprivate var firstUntouchedTable: Int32 = 0
    /// Slots in use: live, cached, waiting in the ring, or promised to someone who builds a table.
    fileprivate var used: Int32 = 0

    init() {}
  }

  private let control: UnsafeMutablePointer<StackControl>

  @inline(__always) init(_ control: UnsafeMutablePointer<StackControl>) { self.control = control }

  // MARK: Numbers

  /// How many slots are in use.
  @inline(__always) var used: Int { Int(control.shared.pointee.slots.used) }

  /// The number of a slot that was free.
  @inline(__always) func number(of free: FreeSlot) -> Int { free.index &<< layout.slotGroupShift &+ free.bit }

  /// The slot with this number, as its group and its number there.
  @inline(__always) func freeSlot(_ slot: Int) -> FreeSlot {
    let index = slot &>> layout.slotGroupShift
    return FreeSlot(slotGroup: group(index), index: index, bit: slot & (1 &<< layout.slotGroupShift &- 1))
  }

  /// The slot group of a slot.
  @inline(__always) func slotGroup(ofSlot slot: Int) -> UnsafeMutablePointer<SlotGroup> {
    group(slot &>> layout.slotGroupShift)
  }

  /// The table that a slot's entries are in.
  @inline(__always) func table(ofSlot slot: Int) -> Int {
    slot &>> (layout.slotGroupShift &+ layout.tableShift)
  }

  /// The first address that a table maps.
  @inline(__always) func firstAddress(ofTable table: Int) -> VirtualAddress {
    VirtualAddress(control.pointee.firstWindow) + table &<< 21
  }

  /// Whether a slot has page-table entries.
  ///
  /// They stay as long as the lock is held.
  func hasTable(_ slot: Int, _ held: borrowing LockHeld) -> Bool {
    slotGroup(ofSlot: slot).pointee.location != 0
  }

  // MARK: Slots

  /// Takes a free slot of a group with a table and counts it, unless as many are in use as there may be.
  @inline(__always) func take(_ held: borrowing LockHeld) -> FreeSlot? {
    let index = Int(control.shared.pointee.slots.firstPartial)
    let used = control.shared.pointee.slots.used
    guard index >= 0, Int(used) < layout.capacity else { return nil }
    control.shared.pointee.slots.used = used &+ 1
    return takeFirstSlot(of: index, held)
  }

  /// Frees a slot, whose entries are all empty.
  @inline(__always) func put(_ slot: Int, _ held: borrowing LockHeld) {
    let freed = freeSlot(slot)
    freed.slotGroup.pointee.free |= 1 &<< UInt64(truncatingIfNeeded: freed.bit)
    control.shared.pointee.slots.used &-= 1
    if freed.slotGroup.pointee.state == .full {
      freed.slotGroup.pointee.state = .partial
      link(freed.slotGroup, freed.index, held)
    }
  }

  /// Takes the lowest free slot of a partial group, which is counted already or next.
  @inline(__always) private func takeFirstSlot(of index: Int, _ held: borrowing LockHeld) -> FreeSlot {
    let group = group(index)
    let free = group.pointee.free
    let left = free & (free &- 1)
    group.pointee.free = left
    if left == 0 { close(group, held) }
    return FreeSlot(slotGroup: group, index: index, bit: free.trailingZeroBitCount)
  }

  /// Takes a group without a free slot out of the list.
  @inline(never)
  private func close(_ group: UnsafeMutablePointer<SlotGroup>, _ held: borrowing LockHeld) {
    unlink(group, held)
    group.pointee.state = .full
  }

  // MARK: Tables

  /// How many tables there can be whose groups have a table, or had one: those with lower numbers.
  func endOfTables(_ held: borrowing LockHeld) -> Int {
    Int(control.shared.pointee.slots.firstUntouchedTable)
  }

  /// Claims the groups of a table that is not there, and counts its first slot as used; `nil` if there is none, or as many
  /// slots are in use as there may be.
  @inline(never) func claimBareTable(_ held: borrowing LockHeld) -> Int? {
    guard used < layout.capacity else { return nil }
    var table = Int(control.shared.pointee.slots.firstBareTable)
    if table >= 0 {
      control.shared.pointee.slots.firstBareTable = group(table &<< layout.tableShift).pointee.next
      group(table &<< layout.tableShift).pointee.next = -1
    } else {
      table = Int(control.shared.pointee.slots.firstUntouchedTable)
      guard table &<< layout.tableShift < layout.slotGroupCount else { return nil }
      control.shared.pointee.slots.firstUntouchedTable &+= 1
    }
    for index in groups(ofTable: table) { group(index).pointee.state = .changing }
    control.shared.pointee.slots.used &+= 1
    return table
  }

  /// Opens the groups of a claimed table, whose entries begin at `location`.
  ///
  /// - Returns: its first slot, which has been counted.
  @inline(__always)
  func open(_ table: Int, at location: PhysicalAddress, _ held: borrowing LockHeld) -> FreeSlot {
    let groups = groups(ofTable: table)
    let groupBytes = control.pointee.geometry.windowEntryBytes &<< layout.slotGroupShift
    var index = groups.upperBound
    while index > groups.lowerBound {
      index &-= 1
      let group = group(index)
      group.pointee.setLocation(location + (index &- groups.lowerBound) &* groupBytes, held)
      group.pointee.free = layout.allSlots
      group.pointee.state = .partial
      link(group, index, held)
    }
    return takeFirstSlot(of: groups.lowerBound, held)
  }

  /// Gives up a claimed table that could not be built, and its first slot, which has been counted.
  func abandon(_ table: Int, _ held: borrowing LockHeld) {
    putBare(table, held)
    control.shared.pointee.slots.used &-= 1
  }

  /// Claims the groups of a table that is there and has no slot in use; look-ups find no table from then on.
  @inline(never) func claimEmptyTable(_ table: Int, _ held: borrowing LockHeld) -> Bool {
    for index in groups(ofTable: table) {
      let group = group(index)
      guard group.pointee.state == .partial, group.pointee.free == layout.allSlots else {
        return false
      }
    }
    for index in groups(ofTable: table) {
      let group = group(index)
      unlink(group, held)
      group.pointee.forgetLocation(held)
      group.pointee.state = .changing
    }
    return true
  }

  /// Puts the groups of a claimed table, which is not there, where the next claim finds them.
  @inline(__always) func putBare(_ table: Int, _ held: borrowing LockHeld) {
    for index in groups(ofTable: table) {
      group(index).pointee.state = .bare
      group(index).pointee.free = 0
    }
    group(table &<< layout.tableShift).pointee.next = control.shared.pointee.slots.firstBareTable
    control.shared.pointee.slots.firstBareTable = Int32(truncatingIfNeeded: table)
  }

  /// The groups of a table.
  @inline(__always) private func groups(ofTable table: Int) -> Range<Int> {
    let first = table &<< layout.tableShift
    return Range(uncheckedBounds: (first, first &+ 1 &<< layout.tableShift))
  }

  // MARK: The list of partial groups

  @inline(__always)
  private func link(_ group: UnsafeMutablePointer<SlotGroup>, _ index: Int, _ held: borrowing LockHeld) {
    let head = control.shared.pointee.slots.firstPartial
    group.pointee.previous = -1
    group.pointee.next = head
    if head >= 0 { self.group(Int(head)).pointee.previous = Int32(truncatingIfNeeded: index) }
    control.shared.pointee.slots.firstPartial = Int32(truncatingIfNeeded: index)
  }

  @inline(__always)
  private func unlink(_ group: UnsafeMutablePointer<SlotGroup>, _ held: borrowing LockHeld) {
    let next = group.pointee.next
    let previous = group.pointee.previous
    if next >= 0 { self.group(Int(next)).pointee.previous = previous }
    if previous >= 0 {
      self.group(Int(previous)).pointee.next = next
    } else {
      control.shared.pointee.slots.firstPartial = next
    }
    group.pointee.next = -1
    group.pointee.previous = -1
  }

  // MARK: The memory

  /// Makes bare groups of memory that nobody uses yet.
  func initialize() {
    for index in 0..<layout.slotGroupCount { group(index).initialize(to: SlotGroup()) }
  }

  @inline(__always) private var layout: StackMetadataLayout { control.pointee.layout }

  @inline(__always) private func group(_ index: Int) -> UnsafeMutablePointer<SlotGroup> {
    control.pointee.slotGroups + index
  }
}

#if INTERNAL_CHECKS
  extension SlotTable {
    /// Whether a slot is free; `nil` where it has no table.
    ///
    /// Traps if its group has free slots, but no table.
    func checkedIsFree(_ slot: Int) -> Bool? {
      let place = freeSlot(slot)
      guard place.slotGroup.pointee.state == .partial || place.slotGroup.pointee.state == .full else {
        precondition(
          place.slotGroup.pointee.location == 0 && place.slotGroup.pointee.free == 0, "a bare group has slots")
        return nil
      }
      return place.slotGroup.pointee.free & 1 &<< UInt64(place.bit) != 0
    }

    /// Traps if a group contradicts the list, or another group of its table.
    func checkLists() {
      var listed = 0
      var previous: Int32 = -1
      var next = control.shared.pointee.slots.firstPartial
      while next >= 0 {
        let group = group(Int(next))
        precondition(group.pointee.previous == previous, "a list link is not mutual")
        precondition(
          group.pointee.state == .partial && group.pointee.free != 0, "a listed group has no free slot")
        listed += 1
        precondition(listed <= layout.slotGroupCount, "the list is a circle")
        previous = next
        next = group.pointee.next
      }
      for index in 0..<layout.slotGroupCount {
        let group = group(index)
        let state = group.pointee.state
        let first = self.group((index &>> layout.tableShift) &<< layout.tableShift).pointee.state
        precondition((state == .bare) == (first == .bare), "a table has groups with and without it")
        if state == .partial {
          listed -= 1
          precondition(group.pointee.free & ~layout.allSlots == 0, "a slot is free that is not there")
        }
        if state == .full { precondition(group.pointee.free == 0, "a full group has a free slot") }
      }
      precondition(listed == 0, "a group with a free slot is not in the list")
    }
  }
#endif
