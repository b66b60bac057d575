// The allocator's memory: one block, of frames that are taken when the allocator is made, or given by its maker.
//
//   +0   StackControl      read by every CPU, never written again (but for two counts of mistakes)
//   …    StackShared       what the lock guards: the lock itself, and the changing words of the parts below
//   …    ring              RetirementRing: slots waiting for an invalidation, then for their frames to go back
//   …    CPU records       CPURecord: for each CPU its magazine and its counts, on cache lines of its own;
//                          StackReserve: where stacks grow, its reserve
//   …    refill pool       RefillPool: where stacks grow, what refills reserves when the frame source refuses
//   …    depots            Depot: for each node, how many freed stacks there are, then these
//   …    accounts          GroupAccounts: for each stack group, its limit and what it has
//   …    credits           GroupAccounts: each CPU's for each of these groups, on lines of its own
//   …    slot groups       SlotTable: one record for each group of up to 64 slots
//
// Each part begins on a cache line of its own, and belongs to the type named there: a view, whose file says who may touch it and
// when. CPU records and reserves are their CPU's, while it has interrupts off; all else is the lock holder's. Functions that
// touch any of it take a token that says so (Tokens.swift).

import KernelMachine
import Synchronization

/// What never changes, and what a stack itself must know of its allocator.
///
/// It lies here and not in the allocator's value, because a value of this size would be copied at each use.
@usableFromInline struct StackControl: ~Copyable {
  /// What the most frequent operations read: a cache line.
  let caching: CachingPlan
  /// What a switch reads: another one.
  let lending: LendingPlan
  let geometry: StackGeometry
  let layout: StackMetadataLayout
  // What the other paths need together lies together: a pair of neighbours is loaded at once. Some of it is in the plans above,
  // too, in their lines.

  /// The base of the first slot's stack.
  let firstStack: UInt
  /// The first byte of the first window (see StackGeometry).
  let firstWindow: UInt
  let slotGroups: UnsafeMutablePointer<SlotGroup>
  /// log2 of the bytes that a slot group spans.
  let slotGroupSpanShift: Int
  /// The bits of an address that name a page in its slot group.
  let slotGroupSpanMask: UInt
  /// Where a marker entry lies, seen from its stack's first entry, in bytes.
  let markerDistance: Int
  /// How far apart the CPUs' records are, and their reserves.
  let cpuStride: Int
  /// The first CPU's reserve.
  let firstReserve: UnsafeMutableRawPointer
  /// The first CPU's credits.
  let firstCredit: UnsafeMutableRawPointer
  /// Where the entry of the first page lies that `allocate` maps, and where the stack's entries end, seen from its first,
  /// in bytes.
  let firstInitialEntry: Int
  let stackEntryBytes: Int
  /// How much of a stack is mapped, and cleared, when it is handed out, in bytes.
  let initialBytes: Int
  /// What makes the invalid entry of a new stack's page valid: writable-clean where the machine tracks that.
  let mappedBits: UInt64
  /// Where the first entry that is mapped from the beginning lies, seen from its window's first, in bytes.
  let initialEntryOffset: Int
  /// Where a marker entry lies, seen from there, in bytes.
  let initialMarkerDistance: Int
  /// log2 of the bytes of a window's entries.
  let windowEntryShift: Int
  /// What the tag of a stack has besides its node's number when it serves from the cache without a further look.
  let cachedTag: UInt
  /// How many stacks go from a full magazine to the depot at once, or the other way.
  let exchange: Int
  /// The bytes from the first stack on in which bases of growing stacks lie; 0 for other strategies.
  let growingByteCount: UInt
  /// How many slots there are.
  private let slotCount: UInt
  /// What ``metadataFrame`` says, in one word.
  private let blockFrame: PageFrame
  let configuration: StackConfiguration
  let lostStacks: Atomic<Int>
  let refusedFrees: Atomic<Int>

  init(
    geometry: StackGeometry, layout: StackMetadataLayout, configuration: StackConfiguration, firstWindow: UInt,
    metadata: UnsafeMutableRawPointer, metadataFrame: PageFrame?, tracksDirtyPages: Bool, linearMapOffset: UInt
  ) {
    self.geometry = geometry
    self.layout = layout
    self.configuration = configuration
    self.firstWindow = firstWindow
    firstStack = firstWindow &+ UInt(bitPattern: geometry.stackOffset)
    slotGroups = (metadata + layout.slotGroupOffset).assumingMemoryBound(to: SlotGroup.self)
    slotGroupSpanShift = geometry.strideShift &+ layout.slotGroupShift
    slotGroupSpanMask = (1 &<< UInt(bitPattern: slotGroupSpanShift) &- 1) & ~0xfff
    markerDistance = geometry.markerEntryOffset &- geometry.stackEntryOffset
    cpuStride = layout.cpuStride
    firstReserve = metadata + layout.cpuOffset + layout.reserveDistance
    firstCredit = metadata + layout.creditOffset
    let firstInitialPage = configuration.strategy == .growing ? geometry.size &- pageSize : 0
    firstInitialEntry = firstInitialPage &>> StackPages.entryShift
    stackEntryBytes = geometry.size &>> StackPages.entryShift
    initialBytes = configuration.strategy == .growing ? pageSize : geometry.size
    mappedBits = tracksDirtyPages ? PageTableEntry.empty.writableClean.rawValue | 1 : 1
    initialEntryOffset = geometry.stackEntryOffset &+ firstInitialEntry
    initialMarkerDistance = markerDistance &- firstInitialEntry
    windowEntryShift = geometry.strideShift &- StackPages.entryShift
    // A stack of one page has all it can grow to.
    cachedTag = configuration.strategy == .growing && geometry.pageCount > 1 ? PackedStack.growingBit : 0
    exchange = (configuration.cachedStacksPerCPU &+ 1) / 2
    growingByteCount =
      configuration.strategy == .growing
      ? UInt(bitPattern: layout.slotCount) &<< UInt(bitPattern: geometry.strideShift) : 0
    slotCount = UInt(bitPattern: layout.slotCount)
    blockFrame = metadataFrame ?? Self.noFrame
    caching = CachingPlan(
      firstRecord: metadata + layout.cpuOffset, cpuStride: cpuStride, firstStack: firstStack,
      slotGroups: slotGroups, slotGroupSpanShift: slotGroupSpanShift, slotGroupSpanMask: slotGroupSpanMask,
      markerDistance: markerDistance, markerEntryOffset: geometry.markerEntryOffset,
      linearMapOffset: configuration.strategy == .linear ? nil : linearMapOffset,
      clearedBytes: tracksDirtyPages ? 0 : initialBytes, firstInitialPage: firstInitialPage,
      hasOneNode: layout.nodeCount == 1)
    let highestEntry = geometry.stackEntryOffset &+ stackEntryBytes &- 2 &* StackPages.entryBytes
    lending = LendingPlan(
      firstStack: firstStack, straightByteCount: geometry.pageCount == 4 ? growingByteCount : 0,
      slotGroupSpanShift: slotGroupSpanShift, slotGroups: slotGroups, slotGroupSpanMask: slotGroupSpanMask,
      highestEntryOffset: linearMapOffset &+ UInt(bitPattern: highestEntry), firstReserve: firstReserve,
      cpuStride: cpuStride)
    lostStacks = Atomic(0)
    refusedFrees = Atomic(0)
  }

  /// Where the first entry of the stack with this base lies.
  ///
  /// Its slot group must have a table.
  @inline(__always) borrowing func stackEntries(ofBase base: VirtualAddress) -> PhysicalAddress {
    // What is constant is loaded before the atomic word, so that neighbours are loaded at once.
    let offset = entryOffset(ofBase: base)
    let distance = base.rawValue &- firstWindow
    let group = slotGroups + Int(bitPattern: distance &>> UInt(bitPattern: slotGroupSpanShift))
    return PhysicalAddress(group.pointee.location &+ offset)
  }

  /// ``initialBytes`` in pages.
  @inline(__always) var initialPages: Int { initialBytes &>> pageShift }

  /// Whether a slot's stack begins at an address, and a stack pointer is neither in that slot nor in the guard above.
  @inline(__always)
  borrowing func isBase(_ address: VirtualAddress, ofOtherStackThan stackPointer: VirtualAddress) -> Bool {
    // Rotated, what is no multiple of the distance between stacks is larger than any slot's number.
    let distance = address.rawValue &- caching.firstStack
    let strideShift = UInt(bitPattern: geometry.strideShift)
    let slot = distance &>> strideShift | distance &<< (0 &- strideShift)
    return slot < slotCount && (stackPointer.rawValue &- address.rawValue) &>> strideShift != 0
  }

  /// How far the first entry of the stack with this base lies from the first of its slot group, in bytes.
  @inline(__always) borrowing func entryOffset(ofBase base: VirtualAddress) -> UInt {
    ((base.rawValue &- firstWindow) & slotGroupSpanMask) &>> UInt(bitPattern: StackPages.entryShift)
  }

  /// The first frame of the block that all this lies in; `nil` if that was given by the maker.
  var metadataFrame: PageFrame? {
    borrowing get { blockFrame == Self.noFrame ? nil : blockFrame }
  }

  private static var noFrame: PageFrame { PageFrame(.max) }

  @inline(never) borrowing func reportLeak(of stack: PackedStack) {
    lostStacks.add(1, ordering: .relaxed)
    if let handler = configuration.leakHandler { handler(stack.base.rawValue) }
  }
}

extension UnsafeMutablePointer<StackControl> {
  /// What the lock guards.
  @inline(__always) var shared: UnsafeMutablePointer<StackShared> {
    (UnsafeMutableRawPointer(self) + StackMetadataLayout.sharedOffset).assumingMemoryBound(to: StackShared.self)
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
  /// log2 of the number of slots of a slot group.
  let slotGroupShift: Int
  let slotGroupCount: Int
  /// log2 of the number of slot groups that share a table.
  let tableShift: Int
  let ringMask: UInt32
  /// Where the header of the first CPU's record lies, and how far apart they are.
  let cpuOffset: Int
  let cpuStride: Int
  /// Where a CPU's reserve lies, seen from its record's header.
  let reserveDistance: Int
  /// How many frames a full reserve has: the pages of a stack that can be missing.
  let reserveLimit: Int
  let refillPoolOffset: Int
  let depotOffset: Int
  /// How many freed stacks the depots hold at most, together.
  let depotLimit: Int
  /// How many stack groups there can be, where their accounts lie, and where each CPU's credits.
  let stackGroupCount: Int
  let chargeOffset: Int
  let creditOffset: Int
  let creditStride: Int
  let slotGroupOffset: Int
  let order: Int

  static var sharedOffset: Int { linesUp(MemoryLayout<StackControl>.size) }
  static var ringOffset: Int { sharedOffset &+ linesUp(MemoryLayout<StackShared>.size) }
  static var largestOrder: Int { 10 }

  static func linesUp(_ bytes: Int) -> Int { (bytes &+ 63) & ~63 }

  /// Fits the records into one block of at most order 10.
  ///
  /// - Parameter room: bounds the capacity if neither the configuration nor `totalFrames` does.
  init(
    _ configuration: StackConfiguration, _ geometry: StackGeometry, cpuCount: Int, nodeCount: Int,
    totalFrames: Int, room: Int = .max
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
    let untilHeader = Self.linesUp((nodeCount &- 1) &* 8) &+ 8
    cpuOffset = firstRecord &+ untilHeader
    let isGrowing = configuration.strategy == .growing
    if isGrowing, cpuCount < 1 { throw .noCPUs }
    reserveLimit = isGrowing && configuration.keepsReserves ? geometry.pageCount &- 1 : 0
    let untilReserve = Self.linesUp(untilHeader &+ CPURecord.headerBytes &+ cache &* 8)
    reserveDistance = untilReserve &- untilHeader
    let reserveBytes = StackReserve.headerBytes &+ reserveLimit &* ReservedFrame.bytes &+ nodeCount &* 8
    cpuStride = untilReserve &+ Self.linesUp(reserveBytes)
    let blockBytes = pageSize &<< Self.largestOrder
    guard cpuCount <= (blockBytes / 2) / (cpuStride &+ reserveLimit &* ReservedFrame.bytes) else {
      throw .tooManyCPUs(cpuCount)
    }
    refillPoolOffset = firstRecord &+ cpuCount &* cpuStride
    depotOffset = refillPoolOffset &+ Self.linesUp(reserveLimit &* cpuCount &* ReservedFrame.bytes)
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
    creditOffset = chargeOffset &+ Self.linesUp(stackGroupCount &* GroupAccount.bytes)
    creditStride = Self.linesUp(stackGroupCount &* 8)
    slotGroupOffset = creditOffset &+ cpuCount &* creditStride

    if configuration.strategy == .linear {
      capacity = 0
      slotGroupShift = 0
      slotGroupCount = 0
      tableShift = 0
    } else {
      let slotsPerTable = StackConfiguration.maximumStride &>> geometry.strideShift
      let slotsPerGroup = slotsPerTable < 64 ? slotsPerTable : 64
      slotGroupShift = slotsPerGroup.trailingZeroBitCount
      tableShift = slotsPerTable.trailingZeroBitCount &- slotGroupShift
      let recordBytes = MemoryLayout<SlotGroup>.stride
      let tableRecordBytes = recordBytes &<< tableShift
      let maximum = ((blockBytes &- slotGroupOffset) / tableRecordBytes &- cpuCount) &* slotsPerTable
      guard maximum > 0 else { throw .tooManyCPUs(cpuCount) }
      if let asked = configuration.capacity {
        guard asked >= 1, asked <= maximum else { throw .capacityOutOfRange(asked, maximum: maximum) }
        capacity = asked
      } else {
        // As many as memory holds, or as there is room for, if that many slots fit well into the vmalloc area of 39-bit addresses.
        var held = isGrowing ? totalFrames : totalFrames / geometry.pageCount
        if totalFrames == .max, room < blockBytes {
          held = ((room &- slotGroupOffset) / tableRecordBytes &- cpuCount) &* slotsPerTable
        }
        let spanned = 1 &<< (37 &- geometry.strideShift)
        if held > spanned { held = spanned }
        capacity = held < 1 ? 1 : held > maximum ? maximum : held
      }
      // Tables that others are just building or giving back can't serve; a spare one per CPU stands in for them.
      let tables = (capacity &+ slotsPerTable &- 1) / slotsPerTable &+ cpuCount
      slotGroupCount = tables &<< tableShift
    }
    let bytes = slotGroupOffset &+ slotGroupCount &* MemoryLayout<SlotGroup>.stride
    var order = 0
    while pageSize &<< order < bytes { order &+= 1 }
    self.order = order
  }

  /// The bytes of all parts.
  var byteCount: Int { slotGroupOffset &+ slotGroupCount &* MemoryLayout<SlotGroup>.stride }

  /// How many frames a full refill pool has: as many as all reserves.
  var refillPoolLimit: Int { reserveLimit &* cpuCount }

  /// How many slots there are.
  var slotCount: Int { slotGroupCount &<< slotGroupShift }

  /// A slot group's bitmap when all its slots are free.
  var allSlots: UInt64 { slotGroupShift == 6 ? .max : 1 &<< (1 &<< UInt64(slotGroupShift)) &- 1 }
}
