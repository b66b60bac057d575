// Address spaces: loaded from an image, shared copy-on-write by fork, destroyed at exit. Interrupts are off throughout.
//
// Layout of a program whose parts lie within one 2 MiB (39-bit addresses):
//
//   root (level 1) --> level 2 --> leaf table --> code     read-only, shared as it is
//   3 frames of tables                       +--> data     shared copy-on-write after a fork
//                                            +--> stack    the live part copied at the fork, the rest copy-on-write
//
// `shareCount` is the number of address spaces that map a frame of user memory. A frame that several map is read-only in all of
// them; bit 55 of an entry (ignored by the hardware) marks a page that a store may make writable again. The frame is freed when
// the last address space releases it. Counts change under their lock, which also orders the last owner's stores behind the others'
// reads. A count of one can be raised by its owner alone, by a fork.
//
// TLB rule: making the parent's entries read-only restricts access; one invalidation of the parent's ASID per fork covers them
// all. A page gets a new output address only after its entry was invalid and an invalidation completed (Processes+Faults).

import KernelStacks

extension PageTableEntry {
  /// Bit 55, ignored by hardware: the page may be written once it has been copied or is no longer shared.
  static var copyOnWriteBit: UInt64 { 1 << 55 }

  /// Whether the page may be written once it has been copied or is no longer shared.
  public var isCopyOnWrite: Bool { rawValue & Self.copyOnWriteBit != 0 }

  /// The entry for a page that is now shared: a writable one becomes read-only and copy-on-write.
  var shared: Self {
    isWritable ? Self(rawValue: readOnly.rawValue | Self.copyOnWriteBit) : self
  }
}

extension Processes {
  /// The translation tables of a process, which has an address space.
  public func tables(of task: TaskPointer) -> TranslationTables<M> {
    TranslationTables(root: task.pointee.addressSpaceRoot, machine: machine)
  }

  /// The addresses that a program may use: the user half without its first page.
  public var userAddresses: VirtualAddressRange {
    VirtualAddressRange(VirtualAddress(4096), VirtualAddress(1 << UInt(machine.virtualAddressBits)))
  }

  /// A pointer to the number of address spaces that map a frame of user memory: its owner word.
  ///
  /// Other CPUs may change it at any time, unless it is one.
  public borrowing func shareCount(_ frame: PageFrame) -> UnsafeMutablePointer<UInt32> {
    frames.ownerWord(of: frame)!
  }

  // MARK: The first process

  /// Loads an image into an empty address space.
  borrowing func loadImage(_ image: ProgramImage, into task: TaskPointer) throws(ForkError) {
    for index in 0..<image.segmentCount {
      let segment = image.segment(at: index)
      try loadSegment(segment, into: task)
    }
    let stack = ProgramSegment(
      address: image.stackBase, contents: UnsafeRawBufferPointer(start: nil, count: 0),
      byteCount: image.stackPageCount * pageSize, permissions: .userReadWrite)
    try loadSegment(stack, into: task)
    machine.publishEntries()
  }

  private borrowing func loadSegment(_ segment: ProgramSegment, into task: TaskPointer) throws(ForkError) {
    let start = segment.address
    guard start.rawValue % UInt(pageSize) == 0, segment.byteCount > 0, start >= userAddresses.lowerBound,
      start < userAddresses.upperBound, segment.byteCount <= userAddresses.upperBound - start,
      segment.contents.count <= segment.byteCount
    else { throw .badImage(start) }
    let tables = tables(of: task)
    for page in 0..<segment.pageCount {
      let address = start + page * pageSize
      let location = try leafEntry(at: address, in: tables)
      guard machine.readEntry(at: location).isEmpty else { throw .badImage(address) }
      let frame = try userFrame(cleared: true)
      let offset = page * pageSize
      let count = min(max(segment.contents.count - offset, 0), pageSize)
      if count > 0 {
        machine.pointer(to: frame.physicalAddress)
          .copyMemory(from: segment.contents.baseAddress! + offset, byteCount: count)
      }
      shareCount(frame).pointee = 1
      machine.writeEntry(.page(frame, segment.permissions), at: location)
    }
  }

  private borrowing func userFrame(cleared: Bool) throws(ForkError) -> PageFrame {
    do {
      return try frames.allocate(FrameRequest(purpose: .userMemory, cleared: cleared))
    } catch { throw .userMemory(error) }
  }

  private borrowing func leafEntry(
    at address: VirtualAddress, in tables: TranslationTables<M>
  ) throws(ForkError) -> PhysicalAddress {
    do {
      return try tables.leafEntry(at: address, frames: frames)
    } catch {
      switch error {
      case .frames(let error): throw .addressSpace(error)
      default: throw .badImage(address)
      }
    }
  }

  // MARK: Fork

  /// Builds the child's tables wherever the parent has pages, with empty entries.
  borrowing func buildTables(of child: TaskPointer, like parent: TaskPointer) throws(ForkError) {
    let childTables = tables(of: child)
    try tables(of: parent).visitLeaves(in: userAddresses) { (leaf) throws(ForkError) in
      _ = try leafEntry(at: leaf.address, in: childTables)
    }
  }

  /// Copies the parent's stack from the page of its stack pointer up to the end of the contiguous writable pages.
  borrowing func copyLiveStack(
    of parent: TaskPointer, to child: TaskPointer, from stackPointer: VirtualAddress
  ) throws(ForkError) {
    let parentTables = tables(of: parent)
    let childTables = tables(of: child)
    // An empty stack's pointer is the address above it; the first store goes to the page below.
    var address = (stackPointer - 1).pageBase
    while userAddresses.contains(address), let location = parentTables.existingLeafEntry(at: address) {
      let entry = machine.readEntry(at: location)
      guard entry.isValid, entry.isWritable || entry.isCopyOnWrite else { return }
      let frame = try userFrame(cleared: false)
      machine.pointer(to: frame.physicalAddress)
        .copyMemory(from: machine.pointer(to: entry.frame.physicalAddress), byteCount: pageSize)
      shareCount(frame).pointee = 1
      let copied = try leafEntry(at: address, in: childTables)
      machine.writeEntry(.page(frame, .userReadWrite), at: copied)
      address = address + pageSize
    }
  }

  /// Shares all pages that the child does not have yet.
  ///
  /// The child's tables exist, so this cannot fail.
  borrowing func shareRemainingPages(of parent: TaskPointer, with child: TaskPointer) {
    let childTables = tables(of: child)
    var tightened = false
    tables(of: parent).visitLeaves(in: userAddresses) { leaf in
      let location = childTables.existingLeafEntry(at: leaf.address)!
      guard machine.readEntry(at: location).isEmpty else { return }
      let shared = leaf.entry.shared
      if shared != leaf.entry {
        machine.writeEntry(shared, at: leaf.location)
        tightened = true
      }
      machine.writeEntry(shared, at: location)
      _ = changeShareCount(leaf.entry.frame, by: 1)
    }
    if tightened {
      dropTranslations(.everything, of: parent)
    } else {
      machine.publishEntries()
    }
  }

  /// Publishes earlier stores to a process's entries, and invalidates the translations of leaf entries in a range on all CPUs.
  borrowing func dropTranslations(_ range: VirtualAddressRange, of task: TaskPointer) {
    if let space = addressSpaceTags.identifier(task.pointee.addressSpaceTag) {
      machine.invalidate(range, in: space, scope: .leaves)
    } else {
      machine.publishEntries()
    }
  }

  // MARK: Exit

  /// Frees a process's tables, and the frames that no other process maps.
  ///
  /// No CPU uses the address space.
  borrowing func destroyAddressSpace(of task: TaskPointer) {
    guard task.pointee.addressSpaceRoot != PhysicalAddress(0) else { return }
    let space = addressSpaceTags.identifier(task.pointee.addressSpaceTag)
    tables(of: task).destroy(in: space, to: frames) { leaf in
      releaseUserFrame(leaf.entry.frame)
    }
    task.pointee.addressSpaceRoot = PhysicalAddress(0)
  }

  /// Releases a frame on behalf of one address space, whose translations have been invalidated.
  borrowing func releaseUserFrame(_ frame: PageFrame) {
    if changeShareCount(frame, by: -1) == 0 { returnFrame(frame, to: frames) }
  }

  /// Adds to the number of address spaces that map a frame, and returns the sum.
  @inline(never) borrowing func changeShareCount(_ frame: PageFrame, by difference: Int32) -> UInt32 {
    let count = shareCount(frame)
    let state = machine.lock(shareLock)
    let sum = UInt32(bitPattern: Int32(bitPattern: count.pointee) &+ difference)
    count.pointee = sum
    machine.unlock(shareLock, restoring: state)
    return sum
  }
}
