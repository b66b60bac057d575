// The allocator's memory: one block of frames, taken when the allocator is made.
//
//   +0   StackControl      read by every CPU, never written again (but for two counts of mistakes)
//   …    StackShared       what the lock guards
//   …    ring              slots waiting for an invalidation, then for their frames to go back
//   …    CPU records       one per CPU, each on cache lines of its own: its magazine and its counts (see CPURecord.swift)
//                        and, where stacks grow, its reserve (see StackReserve.swift)
//   …    pool              where stacks grow: what refills reserves when the frame source refuses
//   …    depots            for each node, how many freed stacks there are, then these
//   …    charges           for each group of threads, its limit and what it has
//   …    credits           each CPU's for each of these groups, on lines of its own
//   …    group records     one for each group of up to 64 slots
//
// Each part begins on a cache line of its own.
//
// Who may touch what: a CPU record belongs to its CPU while that has interrupts off, without a lock. Group records, ring,
// pool, depots and StackShared belong to the holder of the lock, except that a group's `location` may be read without it:
// by the owner of a stack of the group (it does not change while one exists), and by look-ups, in two looks (TableView.swift).
// Functions that touch any of it take a token that says so (Tokens.swift).

import KernelMachine
import Synchronization

/// What never changes, and what a stack itself must know of its allocator.
///
/// It lies here and not in the allocator's value, because a value of this size would be copied at each use.
@usableFromInline struct StackControl: ~Copyable {
  let lending: LendingPlan
  let geometry: StackGeometry
  let layout: StackMetadataLayout
  // What the common paths need together lies together: a pair of neighbours is loaded at once.

  /// The base of the first slot's stack.
  let firstStack: UInt
  /// The first byte of the first window (see StackGeometry).
  let firstWindow: UInt
  let groups: UnsafeMutablePointer<GroupRecord>
  /// log2 of the bytes that a group's slots span.
  let groupSpanShift: Int
  /// The bits of an address that name a page in its group's span.
  let groupSpanMask: UInt
  /// Where a marker entry lies, seen from its stack's first entry, in bytes.
  let markerDistance: Int
  let firstRecord: UnsafeMutableRawPointer
  /// How far apart the CPUs' records are, and their reserves.
  let cpuStride: Int
  /// The first CPU's reserve.
  let firstReserve: UnsafeMutableRawPointer
  /// The first CPU's credits.
  let firstCredit: UnsafeMutableRawPointer
  /// Where in a stack the pages begin that `allocate` maps: 0, or the top page's offset where stacks grow.
  let firstInitialPage: Int
  /// How much of a cached stack is cleared, whatever was used of it, when it is handed out; 0 where its entries tell what
  /// was used.
  let clearedBytes: Int
  /// Where the entry of ``firstInitialPage`` lies, and where the stack's entries end, seen from its first, in bytes.
  let firstInitialEntry: Int
  let stackEntryBytes: Int
  /// How much of a stack is mapped, and cleared, when it is handed out, in bytes.
  let initialBytes: Int
  /// What makes the invalid entry of a new stack's page valid: writable-clean where the machine tracks that.
  let mappedBits: UInt64
  /// ``initialBytes`` in pages.
  let initialPages: Int
  /// Where the first entry that is mapped from the beginning lies, seen from its window's first, in bytes.
  let initialEntryOffset: Int
  /// Where a marker entry lies, seen from there, in bytes.
  let initialMarkerDistance: Int
  /// log2 of the bytes of a window's entries.
  let windowEntryShift: Int
  /// Whether stacks lie in slots, and all memory is of one node.
  let isUniform: Bool
  /// What the tag of a stack has besides its node's number when it serves from the cache without a further look.
  let cachedTag: UInt
  /// How many stacks go from a full magazine to the depot at once, or the other way.
  let exchange: Int
  /// The bytes from the first stack on in which bases of growing stacks lie; 0 for other strategies.
  let growingByteCount: UInt
  /// The first frame of the block that all this lies in.
  let metadataFrame: PageFrame
  let configuration: StackConfiguration
  let lostStacks: Atomic<Int>
  let refusedFrees: Atomic<Int>

  init(
    geometry: StackGeometry, layout: StackMetadataLayout, configuration: StackConfiguration, firstWindow: UInt,
    metadata: UnsafeMutableRawPointer, metadataFrame: PageFrame, tracksDirtyPages: Bool, linearMapOffset: UInt
  ) {
    self.geometry = geometry
    self.layout = layout
    self.configuration = configuration
    self.firstWindow = firstWindow
    firstStack = firstWindow &+ UInt(bitPattern: geometry.stackOffset)
    groupSpanShift = geometry.strideShift &+ layout.groupShift
    groupSpanMask = (1 &<< UInt(bitPattern: groupSpanShift) &- 1) & ~0xfff
    markerDistance = geometry.markerEntryOffset &- geometry.stackEntryOffset
    firstRecord = metadata + layout.cpuOffset
    cpuStride = layout.cpuStride
    firstReserve = firstRecord + layout.reserveDistance
    firstCredit = metadata + layout.creditOffset
    firstInitialPage = configuration.strategy == .growing ? geometry.size &- pageSize : 0
    firstInitialEntry = firstInitialPage &>> StackPages.entryShift
    stackEntryBytes = geometry.size &>> StackPages.entryShift
    initialBytes = configuration.strategy == .growing ? pageSize : geometry.size
    clearedBytes = tracksDirtyPages ? 0 : initialBytes
    mappedBits = tracksDirtyPages ? PageTableEntry.empty.writableClean.rawValue | 1 : 1
    initialPages = initialBytes &>> pageShift
    initialEntryOffset = geometry.stackEntryOffset &+ firstInitialEntry
    initialMarkerDistance = markerDistance &- firstInitialEntry
    windowEntryShift = geometry.strideShift &- StackPages.entryShift
    isUniform = configuration.strategy != .linear && layout.nodeCount == 1
    // A stack of one page has all it can grow to.
    cachedTag = configuration.strategy == .growing && geometry.pageCount > 1 ? PackedStack.growingBit : 0
    exchange = (configuration.cachedStacksPerCPU &+ 1) / 2
    growingByteCount =
      configuration.strategy == .growing
      ? UInt(bitPattern: layout.slotCount) &<< UInt(bitPattern: geometry.strideShift) : 0
    groups = (metadata + layout.groupOffset).assumingMemoryBound(to: GroupRecord.self)
    self.metadataFrame = metadataFrame
    let highestEntry = geometry.stackEntryOffset &+ stackEntryBytes &- 2 &* StackPages.entryBytes
    lending = LendingPlan(
      firstStack: firstStack, straightByteCount: geometry.pageCount == 4 ? growingByteCount : 0,
      groupSpanShift: groupSpanShift, groups: groups, groupSpanMask: groupSpanMask,
      highestEntryOffset: linearMapOffset &+ UInt(bitPattern: highestEntry), firstReserve: firstReserve,
      cpuStride: cpuStride)
    lostStacks = Atomic(0)
    refusedFrees = Atomic(0)
  }

  /// Where the first entry of the stack with this base lies.
  ///
  /// Its group must have a table.
  @inline(__always) borrowing func stackEntries(ofBase base: VirtualAddress) -> PhysicalAddress {
    // What is constant is loaded before the atomic word, so that neighbours are loaded at once.
    let offset = entryOffset(ofBase: base)
    let distance = base.rawValue &- firstWindow
    let group = groups + Int(bitPattern: distance &>> UInt(bitPattern: groupSpanShift))
    return PhysicalAddress(group.pointee.location &+ offset)
  }

  /// How far the first entry of the stack with this base lies from the first of its group, in bytes.
  @inline(__always) borrowing func entryOffset(ofBase base: VirtualAddress) -> UInt {
    ((base.rawValue &- firstWindow) & groupSpanMask) &>> UInt(bitPattern: StackPages.entryShift)
  }

  @inline(never) borrowing func reportLeak(of stack: PackedStack) {
    lostStacks.add(1, ordering: .relaxed)
    if let handler = configuration.leakHandler { handler(stack.base.rawValue) }
  }
}

/// What a group of slots is doing.
enum GroupState: UInt32 {
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

/// The record of up to 64 neighbouring slots whose stacks share one last-level table: 32 bytes.
struct GroupRecord: ~Copyable {
  /// The physical address of the first window's first entry; 0 unless `state` is partial or full.
  ///
  /// Written under the lock.
  let locationWord: Atomic<UInt>
  /// One bit for each free slot.
  var free: UInt64 = 0
  /// The neighbours in the list, or -1.
  var next: Int32 = -1
  var previous: Int32 = -1
  var state = GroupState.bare
  /// How many tables of the group have gone back (see TableView.swift).
  ///
  /// Written under the lock.
  let generation: Atomic<UInt32>

  init() {
    locationWord = Atomic(0)
    generation = Atomic(0)
  }

  /// The same, for the owner of a stack of the group, and for the holder of the lock.
  var location: UInt {
    @inline(__always) borrowing get { locationWord.load(ordering: .relaxed) }
  }
}

/// Where in the block each part lies, and how many slots there are.
struct StackMetadataLayout {
  let nodeCount: Int
  let cpuCount: Int
  /// How many stacks there can be at a time.
  ///
  /// There are more slots than that.
  let capacity: Int
  /// log2 of the number of slots of a group.
  let groupShift: Int
  let groupCount: Int
  /// log2 of the number of groups that share a table.
  let tableShift: Int
  let ringMask: UInt32
  /// Where the header of the first CPU's record lies, and how far apart they are.
  let cpuOffset: Int
  let cpuStride: Int
  /// Where a CPU's reserve lies, seen from its record's header.
  let reserveDistance: Int
  /// How many frames a full reserve has: the pages of a stack that can be missing.
  let reserveLimit: Int
  let poolOffset: Int
  let depotOffset: Int
  /// How many freed stacks the depots hold at most, together.
  let depotLimit: Int
  /// How many groups of threads there can be, where their records lie, and where each CPU's credits.
  let stackGroupCount: Int
  let chargeOffset: Int
  let creditOffset: Int
  let creditStride: Int
  let groupOffset: Int
  let order: Int

  static var sharedOffset: Int { linesUp(MemoryLayout<StackControl>.size) }
  static var ringOffset: Int { sharedOffset &+ linesUp(MemoryLayout<StackShared>.size) }
  static var largestOrder: Int { 10 }

  static func linesUp(_ bytes: Int) -> Int { (bytes &+ 63) & ~63 }

  /// Fits the records into one block of at most order 10.
  init(
    _ configuration: StackConfiguration, _ geometry: StackGeometry, cpuCount: Int, nodeCount: Int,
    totalFrames: Int
  ) throws(StackConfigurationError) {
    let cache = configuration.cachedStacksPerCPU
    let batch = configuration.retirementBatch
    let largestCache = StackConfiguration.maximumCachedStacksPerCPU
    let largestBatch = StackConfiguration.maximumRetirementBatch
    let depot = configuration.depotStacks
    let largestDepot = StackConfiguration.maximumDepotStacks
    guard cache >= 0, cache <= largestCache else { throw .cacheOutOfRange(cache, maximum: largestCache) }
    guard batch >= 1, batch <= largestBatch else { throw .batchOutOfRange(batch, maximum: largestBatch) }
    guard depot >= 0, depot <= largestDepot else { throw .depotOutOfRange(depot, maximum: largestDepot) }
    guard nodeCount <= PackedStack.maximumNodes else {
      throw .tooManyNodes(nodeCount, maximum: PackedStack.maximumNodes)
    }
    self.nodeCount = nodeCount
    self.cpuCount = cpuCount
    var ringSize = 2
    while ringSize < 4 &* batch { ringSize &*= 2 }
    ringMask = UInt32(truncatingIfNeeded: ringSize &- 1)
    let firstRecord = Self.linesUp(Self.ringOffset &+ ringSize &* 4)
    let untilMagazine = Self.linesUp(nodeCount &* 8 &+ CPURecord.headerBytes)
    cpuOffset = firstRecord &+ untilMagazine &- CPURecord.headerBytes
    let isGrowing = configuration.strategy == .growing
    if isGrowing, cpuCount < 1 { throw .noCPUs }
    reserveLimit = isGrowing ? geometry.pageCount &- 1 : 0
    let untilReserve = untilMagazine &+ Self.linesUp(cache &* 8)
    reserveDistance = untilReserve &- untilMagazine &+ CPURecord.headerBytes
    let reserveBytes = StackReserve.headerBytes &+ reserveLimit &* ReservedFrame.bytes &+ nodeCount &* 8
    cpuStride = untilReserve &+ Self.linesUp(reserveBytes)
    let blockBytes = pageSize &<< Self.largestOrder
    guard cpuCount <= (blockBytes / 2) / (cpuStride &+ reserveLimit &* ReservedFrame.bytes) else {
      throw .tooManyCPUs(cpuCount)
    }
    poolOffset = firstRecord &+ cpuCount &* cpuStride
    depotOffset = poolOffset &+ Self.linesUp(reserveLimit &* cpuCount &* ReservedFrame.bytes)
    // Each node's depot could be the one that has all; with very many nodes that has to be less.
    let depotRoom = blockBytes / 4 / 8 / nodeCount &- 1
    depotLimit = depot < depotRoom ? depot : depotRoom
    chargeOffset = depotOffset &+ Self.linesUp(nodeCount &* (1 &+ depotLimit) &* 8)
    stackGroupCount = configuration.stackGroups
    let largestCount = StackConfiguration.maximumStackGroups
    guard stackGroupCount >= 0, stackGroupCount <= largestCount else {
      throw .groupsOutOfRange(stackGroupCount, maximum: largestCount)
    }
    if configuration.strategy == .linear, stackGroupCount > 0 { throw .groupsOfLinearStacks(stackGroupCount) }
    creditOffset = chargeOffset &+ Self.linesUp(stackGroupCount &* StackGroupRecord.bytes)
    creditStride = Self.linesUp(stackGroupCount &* 8)
    groupOffset = creditOffset &+ cpuCount &* creditStride

    var bytes = groupOffset
    if configuration.strategy == .linear {
      capacity = 0
      groupShift = 0
      groupCount = 0
      tableShift = 0
    } else {
      let slotsPerTable = StackConfiguration.maximumStride &>> geometry.strideShift
      let slotsPerGroup = slotsPerTable < 64 ? slotsPerTable : 64
      groupShift = slotsPerGroup.trailingZeroBitCount
      tableShift = slotsPerTable.trailingZeroBitCount &- groupShift
      let recordBytes = MemoryLayout<GroupRecord>.stride
      let tableRecordBytes = recordBytes &<< tableShift
      let maximum = ((blockBytes &- groupOffset) / tableRecordBytes &- cpuCount) &* slotsPerTable
      guard maximum > 0 else { throw .tooManyCPUs(cpuCount) }
      if let asked = configuration.capacity {
        guard asked >= 1, asked <= maximum else { throw .capacityOutOfRange(asked, maximum: maximum) }
        capacity = asked
      } else {
        // As many as memory holds, if that many slots fit well into the vmalloc area of 39-bit addresses.
        var held = isGrowing ? totalFrames : totalFrames / geometry.pageCount
        let spanned = 1 &<< (37 &- geometry.strideShift)
        if held > spanned { held = spanned }
        capacity = held < 1 ? 1 : held > maximum ? maximum : held
      }
      // Tables that others are just building or giving back can't serve; a spare one per CPU stands in for them.
      let tables = (capacity &+ slotsPerTable &- 1) / slotsPerTable &+ cpuCount
      groupCount = tables &<< tableShift
      bytes = groupOffset &+ groupCount &* recordBytes
    }
    var order = 0
    while pageSize &<< order < bytes { order &+= 1 }
    self.order = order
  }

  /// How many frames a full pool has: as many as all reserves.
  var poolLimit: Int { reserveLimit &* cpuCount }

  /// How many slots there are.
  var slotCount: Int { groupCount &<< groupShift }

  /// A group's bitmap when all its slots are free.
  var allSlots: UInt64 { groupShift == 6 ? .max : 1 &<< (1 &<< UInt64(groupShift)) &- 1 }
}
