// The tables of a user address space: made with a root, destroyed as a whole. Its owner makes the calls, one at a time.

import KernelMachine

extension TranslationTables {
  /// Makes the tables of an empty user address space.
  ///
  /// - Parameters:
  ///   - node: the preferred node of the root table.
  ///   - frames: where the root table comes from.
  /// - Throws: the frame source's refusal.
  public init<Frames: FrameSource & ~Copyable>(
    userSpaceOf machine: M, node: NodeID? = nil, frames: borrowing Frames
  ) throws(FrameSourceError) {
    let frame = try frames.allocate(FrameRequest(node: node, purpose: .pageTable, cleared: true))
    machine.publishEntries()
    self.init(root: frame.physicalAddress, machine: machine)
  }

  /// Destroys a user address space: waits for one invalidation of all its translations, then hands over the leaves of each
  /// table and frees the table, the root last.
  ///
  /// No CPU has the root in its TTBR0_EL1 any more, and no unmapping is under way. The handle is invalid afterwards.
  ///
  /// - Parameters:
  ///   - space: the ASID of the address space, which may be reused when this returns; `nil` if no CPU has ever had the root
  ///     in its TTBR0_EL1: then no translation can be cached, and none is invalidated.
  ///   - frames: where the tables came from.
  ///   - release: gets each leaf; its frame may be used for something new.
  /// - Complexity: O(tables), 512 steps for each.
  public func destroy<Frames: FrameSource & ~Copyable>(
    in space: AddressSpaceID?, to frames: borrowing Frames, release: (MappedLeaf) -> Void
  ) {
    if let space {
      // With the root's entries invalid, no walker can cache a translation below it again while the invalidation runs.
      for index in 0..<512 {
        let location = root + index &* 8
        let entry = machine.readEntry(at: location)
        if entry.isValid { machine.writeEntry(entry.retired, at: location) }
      }
      machine.invalidate(.everything, in: space, scope: .tablesAndLeaves)
    }
    dismantle(root, level: rootLevel, address: 0, to: frames, release)
  }

  func dismantle<Frames: FrameSource & ~Copyable>(
    _ table: PhysicalAddress, level: Int, address first: UInt, to frames: borrowing Frames,
    _ release: (MappedLeaf) -> Void
  ) {
    var location = table
    var address = first
    for _ in 0..<512 {
      let entry = machine.readEntry(at: location)
      if !entry.isEmpty {
        if level < 3 && entry.namesTable {
          dismantle(entry.frame.physicalAddress, level: level &+ 1, address: address, to: frames, release)
        } else {
          release(
            MappedLeaf(address: VirtualAddress(address), location: location, entry: entry, level: level))
        }
      }
      location = location + 8
      address &+= 1 &<< Self.shift(level)
    }
    giveBackFrame(table.frame, to: frames)
  }
}
