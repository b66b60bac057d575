// Making a stack of new frames, and undoing what could not be finished.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Makes a stack of one block of the linear map.
  @inline(never)
  func makeLinearStack(node: NodeID?) throws(ThreadStackError) -> PackedStack {
    do {
      let block = try frames.allocate(
        FrameRequest(order: geometry.strideShift &- 12, node: node, purpose: .threadStack, cleared: true))
      let home = layout.nodeCount == 1 ? 0 : frames.node(of: block).index
      return PackedStack(base: machine.linearAddress(of: block), node: home, isMixed: false)
    } catch { throw .frames(error) }
  }

  /// Maps new frames into a slot: all of the stack, or its top page if it is to grow.
  ///
  /// The frames are first noted in invalid entries and become valid when no more can be refused: an entry that was valid
  /// for a moment could not be taken back without an invalidation.
  @inline(__always)
  func makeMappedStack(slot: Int, node: NodeID?) throws(ThreadStackError) -> PackedStack {
    let base = base(ofSlot: slot)
    let entries = stackEntries(ofBase: base)
    let first = entries + control.pointee.firstInitialEntry
    let end = entries + control.pointee.stackEntryBytes
    // Named once, so that a thread that moves to another CPU halfway does not get frames of both nodes.
    let request = FrameRequest(node: node ?? homeNode, purpose: .threadStack, cleared: true)
    var next = first
    do {
      try frames.allocate(request, count: Int(bitPattern: (end.rawValue &- first.rawValue) &>> 3)) { frame in
        machine.writeEntry(arena.stackEntry(for: frame).retired, at: next)
        next = next + 8
      }
    } catch {
      undo(slot: slot, entries: entries, pages: (next.rawValue &- entries.rawValue) &>> 3)
      throw .frames(error)
    }
    let stack = PackedStack(
      word: base.rawValue | (layout.nodeCount == 1 ? control.pointee.cachedTag : tag(ofEntries: entries)))
    next = first
    let mappedBits = control.pointee.mappedBits
    while next < end {
      machine.writeEntry(
        PageTableEntry(rawValue: machine.readEntry(at: next).rawValue | mappedBits), at: next)
      next = next + 8
    }
    machine.writeEntry(StackMarker.live(stack).entry, at: entries + control.pointee.markerDistance)
    machine.publishEntries()
    return stack
  }

  /// Maps frames into an empty slot, if the frame source gives all of them at once.
  ///
  /// None can be refused halfway, so the entries become valid at once. Interrupts are off, and there is one node.
  ///
  /// - Parameters:
  ///   - stack: the slot's stack.
  ///   - pages: how many are mapped from the beginning.
  ///   - first: where its first entry lies that is mapped from the beginning.
  /// - Returns: what the frames hold; `nil` when nothing has changed.
  @inline(__always)
  func mapTogether(_ stack: PackedStack, pages: Int, from first: PhysicalAddress) -> FrameContents? {
    var next = first
    let mappedBits = control.pointee.mappedBits
    let contents = frames.allocateTogether(
      FrameRequest(purpose: .threadStack, cleared: true), count: pages
    ) { frame in
      machine.writeEntry(
        PageTableEntry(rawValue: arena.stackEntry(for: frame).rawValue | mappedBits), at: next)
      next = next + 8
    }
    guard let contents else { return nil }
    machine.writeEntry(StackMarker.live(stack).entry, at: first + control.pointee.initialMarkerDistance)
    machine.publishEntries()
    return contents
  }

  /// Clears the frames of a new stack that has been mapped.
  ///
  /// Where entries tell what was used, they don't hear of it: the pages stay clean.
  @inline(never)
  func clearedNew(_ stack: PackedStack, from first: PhysicalAddress) -> ThreadStack {
    let byteCount = control.pointee.clearedBytes
    if byteCount > 0 {
      machine.clear(stack.base + control.pointee.firstInitialPage, byteCount: byteCount)
      return ThreadStack(stack, control: control)
    }
    var page = 0
    while page < control.pointee.initialPages {
      let frame = machine.readEntry(at: first + page &* 8).frame
      machine.clear(machine.linearAddress(of: frame), byteCount: pageSize)
      page &+= 1
    }
    return ThreadStack(stack, control: control)
  }

  /// The node of the current CPU; node 0 for a CPU whose node has no memory and no number among the frames'.
  @inline(__always) var homeNode: NodeID {
    if layout.nodeCount == 1 { return NodeID(0) }
    let home = machine.currentNode
    return home.index < layout.nodeCount ? home : NodeID(0)
  }

  /// The tag of a stack whose frames the entries name: the first frame's node, and whether others are elsewhere; or
  /// the top frame's node, and that the stack grows.
  @inline(never) func tag(ofEntries entries: PhysicalAddress) -> UInt {
    if isGrowing {
      let top = machine.readEntry(at: entries + (geometry.pageCount &- 1) &* 8)
      return UInt(bitPattern: frames.node(of: top.frame).index)
        | control.pointee.cachedTag
    }
    let home = frames.node(of: machine.readEntry(at: entries).frame).index
    var isMixed = false
    var page = 1
    while page < geometry.pageCount {
      if frames.node(of: machine.readEntry(at: entries + page &* 8).frame).index != home { isMixed = true }
      page &+= 1
    }
    return PackedStack(base: VirtualAddress(0), node: home, isMixed: isMixed).tag
  }

  /// Gives back the first `pages` frames of a slot, whose entries have never been valid, the slot, and its table if no
  /// other slot needs it.
  @inline(never)
  func undo(slot: Int, entries: PhysicalAddress, pages: UInt) {
    emptyEntries(entries, pages: Int(bitPattern: pages))
    let state = machine.lock(lock)
    putSlot(slot)
    machine.unlock(lock, restoring: state)
    let table = slot &>> (layout.groupShift &+ layout.tableShift)
    _ = releaseEmptyTables(from: table, to: table &+ 1)
  }

  /// Gives back the frames that invalid entries name, and empties the entries.
  ///
  /// - Returns: how many frames went back.
  @discardableResult func emptyEntries(_ entries: PhysicalAddress, pages: Int) -> Int {
    var given = 0
    var page = 0
    while page < pages {
      let entry = machine.readEntry(at: entries + page &* 8)
      if !entry.isEmpty {
        machine.writeEntry(.empty, at: entries + page &* 8)
        given &+= giveBack(entry.frame, order: 0)
      }
      page &+= 1
    }
    return given
  }

  /// Gives a block back and returns the number of its frames.
  ///
  /// A refusal is counted: it means that someone else freed it.
  func giveBack(_ frame: PageFrame, order: Int) -> Int {
    do {
      try frames.free(frame, order: order)
      return 1 &<< order
    } catch {
      noteRefusal()
      return 0
    }
  }
}
