// Looks at a slot group's page-table entries by those who own no stack there: look-ups by address, without a lock.
//
// A table goes back when no slot of its groups is in use, and its frame may be anybody's then. The owner of a stack keeps the
// table where it is. A look-up by address keeps nothing: it may have read where the table is, be delayed, and read entries from
// what is somebody else's memory by then. So it looks at the group twice, as readers of a sequence lock do:
//
//     look-up                                          SlotTable.claimEmptyTable, under the lock
//       generation            load-acquire               location = 0
//       location              0: there is no table       generation + 1          store-release
//       entries                                          table unlinked, invalidation, frame goes back
//       barrier for loads
//       generation            another: nothing was seen
//
// 1. With the new generation, a look-up reads the location that was stored before it, or a later one.
// 2. What another owner stores into the frame comes after the frame went back, and so after the new generation: a look-up that has
//    read such a word reads the new generation at its second look.
// 3. A table that is built anew, even in the same frame, belongs to another generation. Their numbers come again after 2³²
//    releases of one table, all of which would have to fall into one look-up.
//
// Whoever uses what was seen without owning the stack may be late all the same: it was so at some moment of the look-up.

import KernelMachine
import Synchronization

extension SlotGroup {
  /// Says where the slot group's entries are, which look-ups find from then on.
  ///
  /// A release: a free by address relies on it that the table was cleared before (ThreadStackAllocator+ByAddress.swift).
  @inline(__always) borrowing func setLocation(_ location: PhysicalAddress, _ held: borrowing LockHeld) {
    locationWord.store(location.rawValue, ordering: .releasing)
  }

  /// Keeps look-ups off the slot group's entries, before their table goes back.
  @inline(__always) borrowing func forgetLocation(_ held: borrowing LockHeld) {
    locationWord.store(0, ordering: .relaxed)
    generation.wrappingAdd(1, ordering: .releasing)
  }
}

/// A slot group's table, as one look-up sees it.
struct TableView {
  let slotGroup: UnsafeMutablePointer<SlotGroup>
  let generation: UInt32
  let location: UInt

  /// The first look; `nil` if there is no table.
  @inline(__always) init?(_ group: UnsafeMutablePointer<SlotGroup>) {
    slotGroup = group
    generation = group.pointee.generation.load(ordering: .acquiring)
    location = group.pointee.location
    if location == 0 { return nil }
  }

  /// The second look: whether the table was there all the time, and what has been read since is what it says.
  @inline(__always) var wasThere: Bool {
    atomicMemoryFence(ordering: .acquiring)
    return slotGroup.pointee.generation.load(ordering: .relaxed) == generation
  }
}

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// The table of a slot, seen by a look-up; `nil` if there is none.
  @inline(__always) func view(ofSlot slot: Int) -> TableView? { TableView(slots.slotGroup(ofSlot: slot)) }

  /// Where the entries of the stack with this base lie, in a table that was seen.
  @inline(__always)
  func stackEntries(ofBase base: VirtualAddress, in view: TableView) -> PhysicalAddress {
    PhysicalAddress(view.location &+ control.pointee.entryOffset(ofBase: base))
  }

  /// What became of the stack with this base; `nil` if there is no table.
  @inline(__always) func seenMarker(ofSlot slot: Int, base: VirtualAddress) -> StackMarker? {
    guard let view = view(ofSlot: slot) else { return nil }
    let entry = machine.readEntry(at: stackEntries(ofBase: base, in: view) + control.pointee.markerDistance)
    return view.wasThere ? StackMarker(entry: entry) : nil
  }
}
