// What handing out a cached stack and taking it back read of what never changes, side by side: one cache line.
//
//     cached stack's address  --firstWindow, span-->  slot group  --location, markerOffset-->  marker entry
//     number of the CPU       --firstRecord, cpuStride-->  record with the magazine (CPURecord)
//
// What a common path reads besides: the allocator's own value, the CPU's record, the slot group's location, and the entry.

import KernelMachine

/// What finds the record of a CPU, and the marker of a stack.
struct CachingPlan {
  let firstRecord: UnsafeMutableRawPointer
  /// How far apart the CPUs' records are, and their reserves.
  let cpuStride: Int
  /// The first byte of the first window (see StackGeometry).
  let firstWindow: UInt
  let slotGroups: UnsafeMutablePointer<SlotGroup>
  /// What leads from a stack's first entry to the linear map's address of its marker; 0 where stacks have no markers.
  ///
  /// Never 0 otherwise: the linear map begins at a page, and a marker lies less than a page from its stack's entries.
  private let markerOffset: UInt
  /// The bits of an address that name a page in its slot group: below those of a last-level table.
  private let narrowSpanMask: UInt32
  /// log2 of the bytes that a slot group spans.
  private let narrowSpanShift: UInt32
  private let narrowClearedBytes: UInt32
  private let narrowFirstInitialPage: UInt32
  /// How far from the marker the entry lies that is empty until a stack has grown.
  private let growthDistance: Int32
  /// Whether stacks lie in slots, and all memory is of one node.
  let isUniform: Bool

  /// Puts together what others have worked out.
  ///
  /// - Parameter linearMapOffset: `nil` if stacks are linear.
  init(
    firstRecord: UnsafeMutableRawPointer, cpuStride: Int, firstWindow: UInt,
    slotGroups: UnsafeMutablePointer<SlotGroup>, slotGroupSpanShift: Int, slotGroupSpanMask: UInt,
    markerDistance: Int, linearMapOffset: UInt?, clearedBytes: Int, firstInitialPage: Int, isUniform: Bool
  ) {
    self.firstRecord = firstRecord
    self.cpuStride = cpuStride
    self.firstWindow = firstWindow
    self.slotGroups = slotGroups
    self.isUniform = isUniform
    markerOffset = linearMapOffset.map { $0 &+ UInt(bitPattern: markerDistance) } ?? 0
    narrowSpanMask = UInt32(truncatingIfNeeded: slotGroupSpanMask)
    narrowSpanShift = UInt32(truncatingIfNeeded: slotGroupSpanShift)
    narrowClearedBytes = UInt32(truncatingIfNeeded: clearedBytes)
    narrowFirstInitialPage = UInt32(truncatingIfNeeded: firstInitialPage)
    let firstInitialEntry = firstInitialPage &>> StackPages.entryShift
    growthDistance = Int32(
      truncatingIfNeeded: firstInitialEntry &- StackPages.entryBytes &- markerDistance)
  }

  /// How much of a cached stack is cleared, whatever was used of it, when it is handed out; 0 where its entries tell what
  /// was used.
  @inline(__always) var clearedBytes: Int { Int(narrowClearedBytes) }

  /// Where in a stack the pages begin that `allocate` maps: 0, or the top page's offset where stacks grow.
  @inline(__always) var firstInitialPage: Int { Int(narrowFirstInitialPage) }

  /// Whether stacks have markers: they do not where they are linear.
  @inline(__always) var hasMarkers: Bool { markerOffset != 0 }

  /// Where the marker of a stack lies in the linear map.
  ///
  /// Its slot group must have a table.
  @inline(__always) func marker(of stack: PackedStack) -> VirtualAddress {
    // The tag is below the bits that count. What is constant is loaded before the atomic word.
    let distance = stack.word &- firstWindow
    let entry = (distance & UInt(narrowSpanMask)) &>> UInt(bitPattern: StackPages.entryShift)
    let offset = entry &+ markerOffset
    let group = slotGroups + Int(bitPattern: distance &>> UInt(narrowSpanShift))
    return VirtualAddress(group.pointee.location &+ offset)
  }

  /// Where the entry lies in the linear map that is empty until the stack has grown.
  @inline(__always) func firstGrownEntry(markedAt marker: VirtualAddress) -> VirtualAddress {
    marker + Int(growthDistance)
  }
}
