// The allocator of thread stacks: what it consists of, how it is made, and how it ends.
//
// Life of a stack (vmalloc; a linear stack is never mapped, so it goes straight from cached to free):
//
//        allocate, cold            free                  not wanted           one invalidation
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

  /// The block that holds all the rest (see StackControl).
  let metadata: UnsafeMutableRawPointer

  /// The bytes that the records of an allocator take, for ``init(_:machine:frames:arena:records:)``.
  ///
  /// - Parameter room: the bytes that are there, which bound the capacity if neither the configuration nor the frame source says
  ///   how many stacks there may be.
  /// - Throws: why the configuration contradicts itself, the machine or the frame source.
  public static func recordByteCount(
    _ configuration: StackConfiguration, machine: M, frames: borrowing F, within room: Int = .max
  ) throws(StackConfigurationError) -> Int {
    try StackMetadataLayout(
      configuration, try StackGeometry(configuration), cpuCount: machine.cpuCount, nodeCount: frames.nodeCount,
      totalFrames: frames.totalFrames, room: room
    ).byteCount
  }

  /// Makes an allocator and takes its records from `frames`, unless memory is given for them, and its slots' addresses from
  /// `arena`.
  ///
  /// - Parameters:
  ///   - configuration: what kind of stacks.
  ///   - machine: the machine.
  ///   - frames: where page frames come from.
  ///   - arena: where slots come from.
  ///   - records: memory for the records, for frame sources without contiguous blocks: at least
  ///     ``recordByteCount(_:machine:frames:within:)`` bytes from a multiple of 64 on, all of them zero, mapped on all CPUs. It
  ///     belongs to the allocator for as long as that lives.
  /// - Throws: ``ThreadStackError/configuration(_:)``, ``ThreadStackError/frames(_:)`` when there is no room for the
  ///   records, or ``ThreadStackError/addressSpace(_:)`` when there is none for the slots. Everything is given back.
  public init(
    _ configuration: StackConfiguration, machine: M, frames: consuming F, arena: consuming A,
    records: UnsafeMutableRawBufferPointer? = nil
  ) throws(ThreadStackError) {
    let geometry: StackGeometry
    let layout: StackMetadataLayout
    do {
      geometry = try StackGeometry(configuration)
      layout = try StackMetadataLayout(
        configuration, geometry, cpuCount: machine.cpuCount, nodeCount: frames.nodeCount,
        totalFrames: frames.totalFrames, room: records?.count ?? .max)
    } catch { throw .configuration(error) }
    let block: PageFrame?
    let metadata: UnsafeMutableRawPointer
    if let records {
      guard records.count >= layout.byteCount, let start = records.baseAddress,
        UInt(bitPattern: start) & 63 == 0
      else { throw .configuration(.unfitRecordMemory(byteCount: records.count, needed: layout.byteCount)) }
      metadata = start
      block = nil
    } else {
      do {
        let taken = try frames.allocate(FrameRequest(order: layout.order, purpose: .metadata, cleared: true))
        metadata = machine.pointer(to: taken.physicalAddress)
        block = taken
      } catch { throw .frames(error) }
    }

    var firstWindow: UInt = 0
    if configuration.strategy != .linear {
      // The first window starts a last-level table, so that no other table is shared with it; the area begins where the
      // first slot's guard does.
      let tableBytes = StackConfiguration.maximumStride
      let lead = geometry.areaLead
      do {
        let base = try arena.reserveStackArea(
          byteCount: layout.slotCount &<< geometry.strideShift &+ lead, alignment: tableBytes,
          phase: lead == 0 ? 0 : tableBytes &- lead, frames: frames)
        firstWindow = (base + lead).rawValue
      } catch {
        if let block { do { try frames.free(block, order: layout.order) } catch {} }
        throw .addressSpace(error)
      }
    }

    self.machine = machine
    self.frames = frames
    self.arena = arena
    self.metadata = metadata
    control.initialize(
      to: StackControl(
        geometry: geometry, layout: layout, configuration: configuration, firstWindow: firstWindow,
        metadata: metadata, metadataFrame: block,
        // What a growing stack has when it is cached, its top page, is used by every thread.
        tracksDirtyPages: configuration.strategy == .vmalloc && machine.tracksDirtyPages,
        linearMapOffset: machine.linearMapOffset))
    shared.initialize(to: StackShared())
    for cpu in 0..<layout.cpuCount {
      record(ofCPU: cpu).initialize(
        to: CPURecord(
          homeTag: layout.nodeCount == 1 ? control.pointee.cachedTag : .max,
          limit: configuration.cachedStacksPerCPU))
      reserve(ofCPU: cpu).initialize(to: StackReserve())
    }
    depot.initialize()
    accounts.initialize()
    slots.initialize()
    if configuration.strategy == .growing { fillReserves() }
  }

  /// Gives everything back: cached stacks, tables, the slots' addresses and the records.
  ///
  /// Stacks that are still in use keep their slots, and with them the records that they point to.
  deinit {
    _ = emptyDepot(target: .max)
    for cpu in 0..<layout.cpuCount {
      let interrupts = turnInterruptsOff()
      _ = emptyMagazine(record(ofCPU: cpu), target: .max, interrupts.off)
      restore(interrupts)
    }
    _ = completeRetirement(given: 0)
    _ = releaseEmptyTables()
    if isGrowing { emptyReserves() }
    guard liveStackCount == 0, lostStackCount == 0, usedSlotCount == 0 else { return }
    if !isLinear {
      arena.releaseStackArea(at: VirtualAddress(firstWindow) - geometry.areaLead, frames: frames)
    }
    guard let block = control.pointee.metadataFrame else { return }
    do { try frames.free(block, order: layout.order) } catch {}
  }
}

// MARK: - Where the records are

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// What was asked for.
  public var configuration: StackConfiguration { control.pointee.configuration }

  /// Where stacks lie.
  public var geometry: StackGeometry { control.pointee.geometry }

  /// The addresses of all slots, with their guards; empty for linear stacks.
  public var slotAddresses: VirtualAddressRange {
    if isLinear { return VirtualAddressRange(VirtualAddress(0), byteCount: 0) }
    let lead = geometry.areaLead
    return VirtualAddressRange(
      VirtualAddress(firstWindow) - lead, byteCount: layout.slotCount &<< geometry.strideShift &+ lead)
  }

  var layout: StackMetadataLayout { control.pointee.layout }

  var firstWindow: UInt { control.pointee.firstWindow }

  var isLinear: Bool { !control.pointee.caching.hasMarkers }

  var isGrowing: Bool { configuration.strategy == .growing }

  var control: UnsafeMutablePointer<StackControl> {
    metadata.assumingMemoryBound(to: StackControl.self)
  }

  @inline(__always) var shared: UnsafeMutablePointer<StackShared> { control.shared }

  /// The storage of the lock that guards slots, ring, depots, refill pool and accounts.
  var lock: UnsafeMutablePointer<SpinLock> {
    (metadata + StackMetadataLayout.sharedOffset).assumingMemoryBound(to: SpinLock.self)
  }

  // What the lock guards, each part by a view of its own.

  @inline(__always) var slots: SlotTable { SlotTable(control) }
  @inline(__always) var ring: RetirementRing { RetirementRing(control) }
  @inline(__always) var depot: Depot { Depot(control) }
  @inline(__always) var refillPool: RefillPool { RefillPool(control) }
  @inline(__always) var accounts: GroupAccounts { GroupAccounts(control) }

  func record(ofCPU cpu: Int) -> UnsafeMutablePointer<CPURecord> {
    control.pointee.caching.record(ofCPU: cpu)
  }

  // MARK: Slots and their entries

  /// The number of the slot whose stack has this base.
  ///
  /// Not checked.
  func slot(ofBase base: VirtualAddress) -> Int {
    Int(bitPattern: (base.rawValue &- firstWindow) &>> UInt(bitPattern: geometry.strideShift))
  }

  func base(ofSlot slot: Int) -> VirtualAddress {
    VirtualAddress(control.pointee.firstStack) + slot &<< geometry.strideShift
  }

  // A slot group's entries lie side by side, so a page's entry is found from its distance to the group's first page.

  /// Where the first entry of the stack with this base lies.
  ///
  /// Its slot group must have a table.
  @inline(__always) func stackEntries(ofBase base: VirtualAddress) -> PhysicalAddress {
    control.pointee.stackEntries(ofBase: base)
  }

  func stackEntries(ofSlot slot: Int) -> PhysicalAddress { stackEntries(ofBase: base(ofSlot: slot)) }

  func markerEntry(ofSlot slot: Int) -> PhysicalAddress {
    stackEntries(ofSlot: slot) + control.pointee.markerDistance
  }

  /// Notes what became of a stack, in its slot's own cache line.
  ///
  /// Linear stacks have no such place.
  ///
  /// The entry is invalid before and after, so nothing needs to be published.
  @inline(__always) func mark(_ stack: PackedStack, _ marker: StackMarker) {
    guard control.pointee.caching.hasMarkers else { return }
    machine.writeEntry(marker.entry, atLinear: control.pointee.caching.marker(of: stack))
  }
}
