// What handing out a cached stack and taking it back read of what never changes, side by side: one cache line.
//
//     cached stack's address  --firstStack, span-->  slot group  --location, markerOffset-->  marker entry
//     number of the CPU       --firstMagazine, cpuStride-->  magazine, in the CPU's record (CPURecord)
//
// What a common path reads besides: the allocator's own value, the CPU's record, the slot group's location, and the entry.

import KernelMachine

/// What finds the record of a CPU, and the marker of a stack.
struct CachingPlan {
  /// The first CPU's magazine, which is what is indexed: its record's header lies below.
  private let firstMagazine: UnsafeMutableRawPointer
  /// How far apart the CPUs' records are, and their reserves.
  private let cpuStride: Int
  /// The base of the first slot's stack.
  ///
  /// It lies in the first window, which begins a slot group, and so do all stacks' bases in theirs.
  let firstStack: UInt
  let slotGroups: UnsafeMutablePointer<SlotGroup>
  /// What leads from where a stack's first entry would lie, if the first slot's stack began its slot group, to the linear map's
  /// address of its marker; unused where stacks have no markers.
  private let markerOffset: UInt
  /// What a slot group spans, in one word, which is read once; 0 where stacks have no markers, never otherwise.
  ///
  ///     31                                      12 11      6 5         0
  ///    +------------------------------------------+---------+-----------+
  ///    | bits of an address that name a page in   |    0    | log2 of   |
  ///    | its slot group                           |         | the bytes |
  ///    +------------------------------------------+---------+-----------+
  ///
  /// It serves as a mask as it is, since bits below a page's entry are shifted out, and as the amount of a shift, of which an
  /// instruction takes 6 bits.
  private let narrowSpan: UInt32
  private let narrowClearedBytes: UInt32
  private let narrowFirstInitialPage: UInt32
  /// How far from the marker the entry lies that is empty until a stack has grown.
  private let growthDistance: Int32
  /// The number of the node for which every cached stack serves: -1, which is any, where all memory is of one node; otherwise none.
  private let servedNode: Int32

  /// Puts together what others have worked out.
  ///
  /// - Parameter linearMapOffset: `nil` if stacks are linear.
  init(
    firstRecord: UnsafeMutableRawPointer, cpuStride: Int, firstStack: UInt,
    slotGroups: UnsafeMutablePointer<SlotGroup>, slotGroupSpanShift: Int, slotGroupSpanMask: UInt,
    markerDistance: Int, markerEntryOffset: Int, linearMapOffset: UInt?, clearedBytes: Int,
    firstInitialPage: Int, hasOneNode: Bool
  ) {
    firstMagazine = firstRecord + CPURecord.headerBytes
    self.cpuStride = cpuStride
    self.firstStack = firstStack
    self.slotGroups = slotGroups
    servedNode = hasOneNode ? -1 : .min
    markerOffset = linearMapOffset.map { $0 &+ UInt(bitPattern: markerEntryOffset) } ?? 0
    narrowSpan =
      linearMapOffset == nil
      ? 0 : UInt32(truncatingIfNeeded: slotGroupSpanMask | UInt(bitPattern: slotGroupSpanShift))
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

  /// The record of a CPU.
  @inline(__always) func record(ofCPU cpu: Int) -> UnsafeMutablePointer<CPURecord> {
    (firstMagazine + cpu &* cpuStride - CPURecord.headerBytes).assumingMemoryBound(to: CPURecord.self)
  }

  /// Whether every cached stack serves a request for a node; -1 is any, and `.min` none.
  @inline(__always) func everyStackServes(node: Int32) -> Bool { node == servedNode }

  /// Whether stacks lie in slots, and all memory is of one node.
  @inline(__always) var isUniform: Bool { hasMarkers && everyStackServes(node: -1) }

  /// Whether stacks have markers: they do not where they are linear.
  @inline(__always) var hasMarkers: Bool { narrowSpan != 0 }

  /// Where the marker of a stack lies in the linear map.
  ///
  /// Its slot group must have a table.
  @inline(__always) func marker(of stack: PackedStack) -> VirtualAddress {
    // The tag is below the bits that count.
    let place = markerPlace(ofBase: VirtualAddress(stack.word))
    return VirtualAddress(place.slotGroup.pointee.location &+ place.offset)
  }

  /// The slot group of the stack with this base, and how far its marker's address in the linear map is from the group's location.
  @inline(__always) func markerPlace(
    ofBase base: VirtualAddress
  ) -> (slotGroup: UnsafeMutablePointer<SlotGroup>, offset: UInt) {
    let distance = base.rawValue &- firstStack
    let entry = (distance & UInt(narrowSpan)) &>> UInt(bitPattern: StackPages.entryShift)
    return (slotGroups + Int(bitPattern: distance &>> UInt(narrowSpan)), entry &+ markerOffset)
  }

  /// Where the entry lies in the linear map that is empty until the stack has grown.
  @inline(__always) func firstGrownEntry(markedAt marker: VirtualAddress) -> VirtualAddress {
    marker + Int(growthDistance)
  }
}
