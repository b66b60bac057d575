// Making a stack of new frames, and undoing what could not be finished.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Makes a stack of one block of the linear map.
  @inline(__always)
  func makeLinearStack(node: NodeID?) throws(FrameSourceError) -> PackedStack {
    let block = try frames.allocate(
      FrameRequest(order: geometry.blockOrder, node: node, purpose: .threadStack, cleared: true))
    let home = layout.nodeCount == 1 ? 0 : frames.node(of: block).index
    let stack = PackedStack(base: machine.linearAddress(of: block), node: home, isMixed: false)
    count(stack)
    return stack
  }

  /// Maps new frames into a slot: all of the stack, or its top page if it is to grow.
  ///
  /// The frames are first noted in invalid entries and become valid when no more can be refused: an entry that was valid
  /// for a moment could not be taken back without an invalidation.
  ///
  /// - Parameter refusal: why there is no stack, if there is none.
  @inline(__always)
  func makeMappedStack(slot: Int, node: NodeID?, _ refusal: inout ThreadStackError?) -> PackedStack? {
    let base = base(ofSlot: slot)
    let all = pages(ofBase: base)
    let made = StackPages(from: all.first + control.pointee.firstInitialEntry, to: all.end)
    // Named once, so that a thread that moves to another CPU halfway does not get frames of both nodes.
    let request = FrameRequest(node: node ?? homeNode, purpose: .threadStack, cleared: true)
    var rest = made
    do {
      try frames.allocate(request, count: made.count) { frame in
        machine.writeEntry(arena.stackEntry(for: frame).retired, at: rest.removeFirst())
      }
    } catch {
      refusal = .frames(error)
      undo(slot: slot, StackPages(from: made.first, to: rest.first))
      return nil
    }
    let stack = PackedStack(
      word: base.rawValue | (layout.nodeCount == 1 ? control.pointee.cachedTag : tag(of: all)))
    let mappedBits = control.pointee.mappedBits
    rest = made
    while let location = rest.popFirst() {
      machine.writeEntry(
        PageTableEntry(rawValue: machine.readEntry(at: location).rawValue | mappedBits), at: location)
    }
    machine.writeEntry(StackMarker.live(stack).entry, at: all.first + control.pointee.markerDistance)
    machine.publishEntries()
    count(stack)
    return stack
  }

  /// Maps frames into an empty slot, if the frame source gives all of them at once.
  ///
  /// None can be refused halfway, so the entries become valid at once. There is one node.
  ///
  /// - Parameters:
  ///   - stack: the slot's stack.
  ///   - pages: how many are mapped from the beginning.
  ///   - first: where its first entry lies that is mapped from the beginning.
  /// - Returns: what the frames hold; `nil` when nothing has changed.
  @inline(__always)
  func mapTogether(
    _ stack: PackedStack, pages: Int, from first: PhysicalAddress, _ off: borrowing InterruptsOff
  ) -> FrameContents? {
    var next = first
    let mappedBits = control.pointee.mappedBits
    let contents = frames.allocateTogether(
      FrameRequest(purpose: .threadStack, cleared: true), count: pages
    ) { frame in
      machine.writeEntry(
        PageTableEntry(rawValue: arena.stackEntry(for: frame).rawValue | mappedBits), at: next)
      next = next + StackPages.entryBytes
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
  func clearNew(_ stack: PackedStack, from first: PhysicalAddress) {
    let byteCount = control.pointee.caching.clearedBytes
    if byteCount > 0 {
      machine.clear(stack.base + control.pointee.caching.firstInitialPage, byteCount: byteCount)
      return
    }
    var rest = StackPages(first, count: control.pointee.initialPages)
    while let location = rest.popFirst() {
      let frame = machine.readEntry(at: location).frame
      machine.clear(machine.linearAddress(of: frame), byteCount: pageSize)
    }
  }

  /// The node of the current CPU; node 0 for a CPU whose node has no memory and no number among the frames'.
  @inline(__always) var homeNode: NodeID {
    if layout.nodeCount == 1 { return NodeID(0) }
    let home = machine.currentNode
    return home.index < layout.nodeCount ? home : NodeID(0)
  }

  /// The tag of a stack whose frames the entries name: the first frame's node, and whether others are elsewhere; or
  /// the top frame's node, and that the stack grows.
  @inline(never) func tag(of pages: StackPages) -> UInt {
    if isGrowing {
      let top = machine.readEntry(at: pages[geometry.pageCount &- 1])
      return UInt(bitPattern: frames.node(of: top.frame).index) | control.pointee.cachedTag
    }
    let home = frames.node(of: machine.readEntry(at: pages.first).frame).index
    var isMixed = false
    var rest = pages
    while let location = rest.popFirst() {
      if frames.node(of: machine.readEntry(at: location).frame).index != home { isMixed = true }
    }
    return PackedStack(base: VirtualAddress(0), node: home, isMixed: isMixed).tag
  }

  /// Gives back the frames of a slot's pages, whose entries have never been valid, the slot, and its table if no other slot
  /// needs it.
  @inline(never)
  private func undo(slot: Int, _ pages: StackPages) {
    empty(pages)
    let section = takeLock()
    putSlot(slot, self.pages(ofSlot: slot), section.held)
    unlock(section)
    let table = slots.table(ofSlot: slot)
    _ = releaseEmptyTables(from: table, to: table &+ 1)
  }

  /// Gives back the frames that invalid entries name, and empties the entries.
  ///
  /// - Returns: how many frames went back.
  @discardableResult func empty(_ pages: StackPages) -> Int {
    var given = 0
    var rest = pages
    while let location = rest.popFirst() {
      let entry = machine.readEntry(at: location)
      if entry.isEmpty { continue }
      machine.writeEntry(.empty, at: location)
      given &+= giveBack(entry.frame, order: 0)
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
