// Building tables and mapping: count the missing tables, allocate all of them, then link.
//
// No table is linked before all are allocated. So a refusal is undone by freeing frames that no walker has ever seen,
// without an invalidation.
//
// A walker may see a new table descriptor before older stores of this CPU. So the contents of a new table (zeroes
// included) are published before its descriptor is written into a table that walkers can reach.

import KernelMachine

/// The kind of leaf entries that a range is to be mapped with.
struct MappingShape {
  /// Whether blocks are used where they fit.
  let usesBlocks: Bool
  /// The offset of physical from virtual addresses, where blocks are used.
  let physicalOffset: UInt

  init(usesBlocks: Bool, physicalOffset: UInt) {
    self.usesBlocks = usesBlocks
    self.physicalOffset = physicalOffset
  }

  static var pages: Self { Self(usesBlocks: false, physicalOffset: 0) }

  /// Whether one block maps the addresses from `first` to `last`; levels 1 and 2 have blocks.
  func isBlock(level: Int, first: UInt, last: UInt, span: UInt) -> Bool {
    usesBlocks && level > 0 && level < 3 && last &- first == span &- 1
      && (first | (first &+ physicalOffset)) & (span &- 1) == 0
  }
}

/// What the mapping of a range lacks, and what is in its way.
struct MappingSurvey {
  /// The number of missing tables.
  var missingTables = 0
  /// Whether tables are to be linked: missing ones, or retired ones again.
  var linksTables = false
  /// The first address that is in use, if there is one.
  var conflict: VirtualAddress?

  init() {}
}

extension TranslationTables {
  // MARK: Mapping

  /// Maps one page.
  ///
  /// - Parameters:
  ///   - frame: the frame to map.
  ///   - address: its virtual address, a multiple of 4,096.
  ///   - node: the preferred node of new tables.
  ///   - frames: where missing tables come from.
  /// - Throws: ``TranslationError``; no table has been left behind then.
  /// - Complexity: O(1): at most one new table for each level below the root.
  public func map<Frames: FrameSource & ~Copyable>(
    _ frame: PageFrame, at address: VirtualAddress, _ permissions: PagePermissions, kind: MemoryKind = .normal,
    node: NodeID? = nil, frames: borrowing Frames
  ) throws(TranslationError) {
    let entry = PageTableEntry.page(frame, permissions, kind: kind, indices: machine.memoryAttributes)
    try map(entry, at: address, node: node, frames: frames)
  }

  /// Maps one page with a given last-level entry, such as one of another address space.
  ///
  /// - Throws: ``TranslationError``; no table has been left behind then.
  public func map<Frames: FrameSource & ~Copyable>(
    _ entry: PageTableEntry, at address: VirtualAddress, node: NodeID? = nil, frames: borrowing Frames
  ) throws(TranslationError) {
    let page = VirtualAddressRange(address, byteCount: pageSize)
    try build(page, shape: .pages, node: node, frames: frames) { location, _, _, _ in
      machine.writeEntry(entry, at: location)
      return 1
    }
    machine.publishEntries()
  }

  /// Maps a range onto physically contiguous memory, each part with the largest of 1 GiB, 2 MiB and 4 KiB that the
  /// alignment of both addresses allows.
  ///
  /// - Parameters:
  ///   - range: whole pages.
  ///   - physical: the physical address behind the range's first byte, a multiple of 4,096.
  ///   - frames: where missing tables come from.
  /// - Throws: ``TranslationError``; nothing is mapped and no table has been left behind then.
  /// - Complexity: O(entries written + tables built).
  public func mapBlocks<Frames: FrameSource & ~Copyable>(
    _ range: VirtualAddressRange, to physical: PhysicalAddress, _ permissions: PagePermissions,
    kind: MemoryKind = .normal, node: NodeID? = nil, frames: borrowing Frames
  ) throws(TranslationError) {
    guard physical.rawValue & 4095 == 0 else { throw .misalignedMemory(physical) }
    let offset = physical.rawValue &- range.lowerBound.rawValue
    let shape = MappingShape(usesBlocks: true, physicalOffset: offset)
    let indices = machine.memoryAttributes
    try build(range, shape: shape, node: node, frames: frames) { location, address, count, level in
      var frame = PhysicalAddress(address &+ offset).frame
      if level < 3 {
        machine.writeEntry(.block(frame, permissions, kind: kind, indices: indices), at: location)
        return 1
      }
      for index in 0..<count {
        machine.writeEntry(
          .page(frame, permissions, kind: kind, indices: indices), at: location + index &* 8)
        frame = frame + 1
      }
      return count
    }
    machine.publishEntries()
  }

  /// Finds the last-level entry of `address`, building the tables above it where they are missing.
  ///
  /// The entry is not counted as live: the caller keeps its table linked for as long as it uses the entry.
  ///
  /// - Returns: the physical address of the entry.
  /// - Throws: ``TranslationError``; no table has been left behind then.
  /// - Complexity: O(1): at most one new table for each level below the root.
  public func leafEntry<Frames: FrameSource & ~Copyable>(
    at address: VirtualAddress, node: NodeID? = nil, frames: borrowing Frames
  ) throws(TranslationError) -> PhysicalAddress {
    if let entry = existingLeafEntry(at: address) { return entry }
    let page = VirtualAddressRange(address.pageBase, byteCount: pageSize)
    var found = PhysicalAddress(0)
    try build(page, shape: .pages, checkingPages: false, node: node, frames: frames) { location, _, _, _ in
      found = location
      return 0
    }
    machine.publishEntries()
    return found
  }

  /// Checks, allocates and links; `write` writes the leaf entries and returns the number of live ones.
  func build<Frames: FrameSource & ~Copyable>(
    _ range: VirtualAddressRange, shape: MappingShape, checkingPages: Bool = true, node: NodeID?,
    frames: borrowing Frames, write: (PhysicalAddress, UInt, Int, Int) -> Int
  ) throws(TranslationError) {
    try check(range)
    let survey = survey(range, shape: shape, checkingPages: checkingPages)
    if let conflict = survey.conflict { throw .occupied(conflict) }
    var spare = FrameChain()
    do {
      try spare.grow(
        to: survey.missingTables, node: node, purpose: .pageTable, from: frames, machine: machine)
    } catch {
      spare.giveBack(to: frames, machine: machine)
      throw .frames(error)
    }
    link(range, shape: shape, spare: &spare, leaves: write)
  }

  /// Refuses a range that is not made of whole pages or leaves the half that the tables translate.
  func check(_ range: VirtualAddressRange) throws(TranslationError) {
    let first = range.lowerBound.rawValue
    let end = range.upperBound.rawValue
    guard (first | end) & 4095 == 0, end > first else { throw .misaligned(range.lowerBound) }
    let bits = 48 &- UInt(bitPattern: 9 &* rootLevel)
    let half = first &>> bits
    guard half == (end &- 1) &>> bits, half == 0 || half == UInt.max &>> bits else {
      throw .outsideSpace(range.lowerBound)
    }
  }

  // MARK: The two passes

  /// Counts the tables that a mapping of `range` lacks, and looks for a conflict.
  func survey(
    _ range: VirtualAddressRange, shape: MappingShape, checkingPages: Bool
  ) -> MappingSurvey {
    var result = MappingSurvey()
    survey(
      root, level: rootLevel, range.lowerBound.rawValue, range.upperBound.rawValue &- 1, shape,
      checkingPages, &result)
    return result
  }

  func survey(
    _ table: PhysicalAddress?, level: Int, _ first: UInt, _ last: UInt, _ shape: MappingShape,
    _ checkingPages: Bool, _ result: inout MappingSurvey
  ) {
    if level == 3 && (!checkingPages || table == nil) { return }
    let span: UInt = 1 &<< Self.shift(level)
    var address = first
    while true {
      let lastOfEntry = min(address | (span &- 1), last)
      var entry = PageTableEntry.empty
      if let table { entry = machine.readEntry(at: Self.location(of: address, in: table, level: level)) }
      if level == 3 || shape.isBlock(level: level, first: address, last: lastOfEntry, span: span)
        || !entry.isEmpty && !entry.namesTable
      {
        if !entry.isEmpty && result.conflict == nil { result.conflict = VirtualAddress(address) }
      } else {
        if !entry.isValid { result.linksTables = true }
        if entry.isEmpty { result.missingTables &+= 1 }
        survey(
          entry.isEmpty ? nil : entry.frame.physicalAddress, level: level &+ 1, address, lastOfEntry, shape,
          checkingPages, &result)
      }
      if lastOfEntry == last { return }
      address = lastOfEntry &+ 1
    }
  }

  /// Links the tables that are missing, taking them from `spare`, and lets `leaves` write the leaf entries.
  ///
  /// `leaves` gets, for each run of leaf entries in one table: the location of the first, its virtual address, their
  /// number and their level. It returns by how many the live entries of the table have grown.
  func link(
    _ range: VirtualAddressRange, shape: MappingShape, spare: inout FrameChain,
    leaves: (PhysicalAddress, UInt, Int, Int) -> Int
  ) {
    _ = link(
      root, level: rootLevel, range.lowerBound.rawValue, range.upperBound.rawValue &- 1, shape, &spare,
      isReachable: true, leaves)
  }

  func link(
    _ table: PhysicalAddress, level: Int, _ first: UInt, _ last: UInt, _ shape: MappingShape,
    _ spare: inout FrameChain, isReachable: Bool, _ leaves: (PhysicalAddress, UInt, Int, Int) -> Int
  ) -> Int {
    if level == 3 {
      let count = Int(bitPattern: (last &- first) &>> 12) &+ 1
      return leaves(Self.location(of: first, in: table, level: 3), first, count, 3)
    }
    let span: UInt = 1 &<< Self.shift(level)
    var added = 0
    var address = first
    while true {
      let lastOfEntry = min(address | (span &- 1), last)
      let location = Self.location(of: address, in: table, level: level)
      let entry = machine.readEntry(at: location)
      if shape.isBlock(level: level, first: address, last: lastOfEntry, span: span) {
        added &+= leaves(location, address, 1, level)
      } else if entry.isEmpty {
        let frame = spare.pop(machine: machine)
        let count = link(
          frame.physicalAddress, level: level &+ 1, address, lastOfEntry, shape, &spare, isReachable: false,
          leaves)
        if isReachable { machine.publishEntries() }
        machine.writeEntry(.table(frame).withEntryCount(count), at: location)
        added &+= 1
      } else {
        let count = link(
          entry.frame.physicalAddress, level: level &+ 1, address, lastOfEntry, shape, &spare,
          isReachable: isReachable, leaves)
        // A retired table that was not swept yet is linked again: it is the same table at the same addresses, so
        // a descriptor that a walker has cached stays true.
        if !entry.isValid { added &+= 1 }
        if count > 0 || !entry.isValid {
          machine.writeEntry(entry.withEntryCount(entry.entryCount &+ count).linked, at: location)
        }
      }
      if lastOfEntry == last { return added }
      address = lastOfEntry &+ 1
    }
  }
}
