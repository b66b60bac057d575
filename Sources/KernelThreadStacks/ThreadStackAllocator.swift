// The allocator of thread stacks: what it consists of, how it is made, and how it ends.
//
// Life of a stack (vmalloc; a linear stack is never mapped, so it goes straight from cached to free):
//
//        allocate, cold            free                 cache full            one invalidation
//   FREE ------------------> LIVE --------> CACHED ----------------> RETIRED ----------------> INVALIDATED
//    ^    frames, entries      ^              |                       entries invalid,              |
//    |                         +--------------+                       frames still named            |
//    |                          allocate, hit                         by them                       |
//    +----------------------------------------------------------------------------------------------+
//                                      frames go back, entries emptied
//
// The TLB rule holds by construction: an entry is made valid only in an empty slot, and a slot becomes empty only
// after the invalidation that followed its last life.

import KernelMachine

/// Gives every thread of a kernel its stack and `thread_info`.
///
/// One value serves all CPUs; all operations are `borrowing` and may be called on several CPUs at once. The mutable
/// state lies in one block of frames behind the machine's locks and, in the common path, behind no lock at all: each CPU
/// keeps a magazine of freed stacks, which it uses with interrupts off.
///
/// - `M`: the machine.
/// - `F`: where page frames come from.
/// - `A`: where the slots' addresses and page-table entries come from; unused by ``StackStrategy/linear``.
public struct ThreadStackAllocator<M: Machine, F: FrameSource & ~Copyable, A: StackArena & ~Copyable>: ~Copyable
{
  /// Where page frames come from.
  public let frames: F
  /// Where the slots' addresses and page-table entries come from.
  public let arena: A
  /// The machine.
  public let machine: M
  /// What was asked for.
  public let configuration: StackConfiguration
  /// Where stacks lie.
  public let geometry: StackGeometry

  @usableFromInline let layout: StackMetadataLayout
  @usableFromInline let metadata: UnsafeMutableRawPointer
  @usableFromInline let metadataFrame: PageFrame
  /// The first byte of the first window (see StackGeometry).
  @usableFromInline let firstWindow: UInt

  /// Makes an allocator and takes its records from `frames` and its slots' addresses from `arena`.
  ///
  /// - Parameters:
  ///   - configuration: what kind of stacks.
  ///   - machine: the machine.
  ///   - frames: where page frames come from.
  ///   - arena: where slots come from.
  /// - Throws: ``ThreadStackError/configuration(_:)``, ``ThreadStackError/frames(_:)`` when there is no room for the
  ///   records, or ``ThreadStackError/addressSpace(_:)`` when there is none for the slots. Everything is given back.
  @inlinable public init(
    _ configuration: StackConfiguration, machine: M, frames: consuming F, arena: consuming A
  ) throws(ThreadStackError) {
    let geometry: StackGeometry
    let layout: StackMetadataLayout
    do {
      geometry = try StackGeometry(configuration)
      layout = try StackMetadataLayout(
        configuration, geometry, cpuCount: machine.cpuCount, nodeCount: frames.nodeCount,
        totalFrames: frames.totalFrames)
    } catch { throw .configuration(error) }
    let block: PageFrame
    do {
      block = try frames.allocate(FrameRequest(order: layout.order, purpose: .metadata, cleared: true))
    } catch { throw .frames(error) }

    var firstWindow: UInt = 0
    if configuration.strategy == .vmalloc {
      // The first window starts a last-level table, so that no other table is shared with it; the area begins where the
      // first slot's guard does.
      let tableBytes = StackConfiguration.maximumStride
      let tables = (layout.capacity &<< geometry.strideShift &+ tableBytes &- 1) / tableBytes
      let lead = geometry.areaLead
      do {
        let base = try arena.reserveStackArea(
          byteCount: tables &* tableBytes &+ lead, alignment: tableBytes,
          phase: lead == 0 ? 0 : tableBytes &- lead, frames: frames)
        firstWindow = (base + lead).rawValue
      } catch {
        do { try frames.free(block, order: layout.order) } catch {}
        throw .addressSpace(error)
      }
    }

    self.configuration = configuration
    self.geometry = geometry
    self.layout = layout
    self.machine = machine
    self.frames = frames
    self.arena = arena
    self.firstWindow = firstWindow
    metadataFrame = block
    metadata = machine.pointer(to: block.physicalAddress)
    control.initialize(to: StackControl(geometry: geometry, leakHandler: configuration.leakHandler))
    shared.initialize(to: StackShared())
    for cpu in 0..<layout.cpuCount { record(ofCPU: cpu).initialize(to: CPURecord()) }
    for group in 0..<layout.groupCount { self.group(group).initialize(to: GroupRecord()) }
  }

  /// Gives everything back: cached stacks, tables, the slots' addresses and the records.
  ///
  /// Stacks that are still in use keep their slots, and with them the records that they point to.
  @inlinable deinit {
    for cpu in 0..<layout.cpuCount { _ = emptyMagazine(record(ofCPU: cpu), target: .max) }
    _ = completeRetirement()
    _ = releaseEmptyTables()
    guard liveStackCount == 0, lostStackCount == 0, usedSlotCount == 0 else { return }
    if !isLinear {
      arena.releaseStackArea(at: VirtualAddress(firstWindow) - geometry.areaLead, frames: frames)
    }
    do { try frames.free(metadataFrame, order: layout.order) } catch {}
  }
}

// MARK: - Where the records are

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  @inlinable var isLinear: Bool { configuration.strategy == .linear }

  @inlinable var control: UnsafeMutablePointer<StackControl> {
    metadata.assumingMemoryBound(to: StackControl.self)
  }

  @inlinable var shared: UnsafeMutablePointer<StackShared> {
    (metadata + StackMetadataLayout.sharedOffset).assumingMemoryBound(to: StackShared.self)
  }

  /// The storage of the lock that guards groups, ring and shared state.
  @inlinable var lock: UnsafeMutablePointer<SpinLock> {
    (metadata + StackMetadataLayout.sharedOffset).assumingMemoryBound(to: SpinLock.self)
  }

  @inlinable var ring: UnsafeMutablePointer<UInt32> {
    (metadata + StackMetadataLayout.ringOffset).assumingMemoryBound(to: UInt32.self)
  }

  @inlinable func record(ofCPU cpu: Int) -> UnsafeMutablePointer<CPURecord> {
    (metadata + (layout.cpuOffset &+ cpu &* layout.cpuStride)).assumingMemoryBound(to: CPURecord.self)
  }

  /// The live frames of each node, as this CPU has counted them.
  @inlinable func liveFrames(of record: UnsafeMutablePointer<CPURecord>) -> UnsafeMutablePointer<Int> {
    (UnsafeMutableRawPointer(record) + CPURecord.headerBytes).assumingMemoryBound(to: Int.self)
  }

  @inlinable func magazine(of record: UnsafeMutablePointer<CPURecord>) -> UnsafeMutablePointer<PackedStack> {
    (UnsafeMutableRawPointer(record) + layout.magazineOffset).assumingMemoryBound(to: PackedStack.self)
  }

  @inlinable func group(_ index: Int) -> UnsafeMutablePointer<GroupRecord> {
    (metadata + layout.groupOffset).assumingMemoryBound(to: GroupRecord.self) + index
  }

  // MARK: Slots and their entries

  /// The number of the slot whose stack has this base. Not checked.
  @inlinable func slot(ofBase base: VirtualAddress) -> Int {
    Int(bitPattern: (base.rawValue &- firstWindow) &>> UInt(bitPattern: geometry.strideShift))
  }

  @inlinable func base(ofSlot slot: Int) -> VirtualAddress {
    VirtualAddress(firstWindow) + (slot &<< geometry.strideShift &+ geometry.stackOffset)
  }

  @inlinable func group(ofSlot slot: Int) -> UnsafeMutablePointer<GroupRecord> {
    group(slot &>> layout.groupShift)
  }

  /// Where the entries of a slot's window begin. Its group must have a table.
  @inlinable func windowEntries(ofSlot slot: Int) -> PhysicalAddress {
    let inGroup = slot & (1 &<< layout.groupShift &- 1)
    return PhysicalAddress(group(ofSlot: slot).pointee.location) + inGroup &* geometry.windowEntryBytes
  }

  @inlinable func stackEntries(ofSlot slot: Int) -> PhysicalAddress {
    windowEntries(ofSlot: slot) + geometry.stackEntryOffset
  }

  @inlinable func markerEntry(ofSlot slot: Int) -> PhysicalAddress {
    windowEntries(ofSlot: slot) + geometry.markerEntryOffset
  }

  /// Notes what became of a stack, in its slot's own cache line. Linear stacks have no such place.
  ///
  /// The entry is invalid before and after, so nothing needs to be published.
  @inlinable func mark(_ stack: PackedStack, _ marker: StackMarker) {
    if !isLinear { machine.writeEntry(marker.entry, at: markerEntry(ofSlot: slot(ofBase: stack.base))) }
  }
}
