// Growth without a fault: the pages that a stack lacks are lent to its thread while the thread runs.
//
//     switch-in of t     each page that t's stack lacks is mapped to a frame of this CPU's reserve, untouched (AF = 0)
//     t runs             no page is missing; the CPU sets AF in the entries of pages that t touches
//     switch-out of t    each entry that is still untouched becomes empty, by one compare-and-swap, and its frame is the
//                        reserve's again; from the lowest page that was touched up, the pages are t's
//
// The frames that are lent stay in the reserve, as its last ones: frame n of them, counted from the end, belongs to page n of
// the stack, counted from the lowest. While nothing is lent, all entries of stacks have AF = 1, or are empty or retired.
//
//     reserve   [ a ][ b ][ c ][ d ]            stack's entries   low                 top
//                     '----lent----'                            [ d ][ c ][ b ][ own ]
//                                                              AF  0    0    1    1
//     after     [ a ][ c ][ d ]                                 [   ][   ][ b ][ own ]
//
// What makes it sound (docs/growth.md, verify/lending.pml, verify/litmus/lend-*): an untouched entry is in no TLB, and
// an entry becomes valid only after the invalidation that followed its last life.
//
// A thread of a stack of 16 KiB that has touched one page, with a full reserve, is the common case: it takes the straight way,
// three pages without a loop. All else goes page by page.
//
// A handle belongs to the CPU that uses it, with interrupts off, on a stack that is no thread's (the exception stack).

import KernelMachine

/// Lends the running thread the pages that its stack lacks; a handle that a kernel's switch can keep in a global.
///
/// It is valid as long as its allocator is. It needs a machine whose CPUs set the access flag
/// (``AccessFlagMachine/updatesAccessFlags``), and that has no other use for the flag of a stack's entry.
public struct StackLender<M: AccessFlagMachine> {
  let machine: M
  let control: UnsafeMutablePointer<StackControl>

  init(machine: M, control: UnsafeMutablePointer<StackControl>) {
    self.machine = machine
    self.control = control
  }

  /// Maps every page that a stack lacks, so that its thread takes no stack fault until it is switched out.
  ///
  /// To be called after ``ThreadStackAllocator/prepareToRun(_:mayTakeFrames:)`` has returned true on this CPU, and before
  /// the thread runs. A thread that was not prepared, or a CPU that has lent already, is a trap. No lock, no request for
  /// memory, no invalidation.
  ///
  /// - Parameter base: the base of the thread's stack. One that is not of this allocator, or that has all its pages, is left
  ///   as it is.
  /// - Complexity: O(pages lent).
  @inline(__always) public func lend(to base: VirtualAddress) {
    #if INTERNAL_CHECKS
      checkLendable(base)
    #endif
    let distance = base.rawValue &- control.pointee.lending.firstStack
    guard distance < control.pointee.lending.straightByteCount else { return lendByPage(base) }
    let highest = control.pointee.lending.highestEntry(of: distance)
    let reserve = control.pointee.lending.reserve(ofCPU: machine.currentCPU)
    // The reserve is full: there is a frame for each page. The pages that a stack lacks are its lowest.
    let (count, lending) = (reserve.pointee.count, reserve.pointee.lending)
    guard count == 3, lending == 0, machine.readEntry(atLinear: highest).isEmpty else {
      return lendByPage(base)
    }
    let frames = reserve.reservedFrames
    machine.writeEntry(frames[0].untouchedEntry, atLinear: highest)
    machine.writeEntry(frames[1].untouchedEntry, atLinear: highest + -StackPages.entryBytes)
    machine.writeEntry(frames[2].untouchedEntry, atLinear: highest + -2 &* StackPages.entryBytes)
    reserve.pointee.lending = 3
    reserve.pointee.highestLentEntry = highest
    machine.publishEntries()
  }

  /// Takes back what was lent on this CPU and not touched, and leaves the rest to the thread.
  ///
  /// To be called when the thread does not run any more, on the CPU that it ran on, before another thread is prepared
  /// there or the thread can run elsewhere.
  ///
  /// - Complexity: O(pages lent).
  @inline(__always) public func takeBack() {
    let reserve = control.pointee.lending.reserve(ofCPU: machine.currentCPU)
    guard reserve.pointee.lending == 3 else { return takeBackByPage() }
    reserve.pointee.lending = 0
    let highest = reserve.pointee.highestLentEntry
    let frames = reserve.reservedFrames
    guard takesBack(frames[2], at: highest + -2 &* StackPages.entryBytes) else { return keep(3, of: 3) }
    guard takesBack(frames[1], at: highest + -StackPages.entryBytes) else { return keep(2, of: 3) }
    guard takesBack(frames[0], at: highest) else { return keep(1, of: 3) }
  }

  // MARK: Page by page

  @inline(never) private func lendByPage(_ base: VirtualAddress) {
    guard control.pointee.isGrowing(base) else { return }
    let reserve = control.pointee.lending.reserve(ofCPU: machine.currentCPU)
    precondition(reserve.pointee.lending == 0, "pages are lent that were not taken back")
    let entries = control.pointee.stackEntries(ofBase: base)
    let lowest = VirtualAddress(entries.rawValue &+ machine.linearMapOffset)
    var missing = 0
    // The top page is always mapped: the search ends there.
    while machine.readEntry(atLinear: lowest + missing &* StackPages.entryBytes).isEmpty { missing &+= 1 }
    precondition(missing <= reserve.pointee.count, "pages are lent to a thread that was not prepared")
    guard missing > 0 else { return }
    var frame = reserve.reservedFrames + reserve.pointee.count
    for page in 0..<missing {
      frame -= 1
      machine.writeEntry(frame.pointee.untouchedEntry, atLinear: lowest + page &* StackPages.entryBytes)
    }
    reserve.pointee.lending = 0 &- missing
    reserve.pointee.highestLentEntry = lowest + (missing &- 1) &* StackPages.entryBytes
    machine.publishEntries()
  }

  @inline(never) private func takeBackByPage() {
    let reserve = control.pointee.lending.reserve(ofCPU: machine.currentCPU)
    let lent = reserve.pointee.lentCount
    guard lent > 0 else { return }
    reserve.pointee.lending = 0
    let lowest = reserve.pointee.lowestEntry(of: lent)
    var frame = reserve.reservedFrames + reserve.pointee.count
    for page in 0..<lent {
      frame -= 1
      guard takesBack(frame.pointee, at: lowest + page &* StackPages.entryBytes) else {
        return keep(lent &- page, of: lent)
      }
    }
  }

  /// Takes a page back unless it was touched.
  @inline(__always) private func takesBack(_ frame: ReservedFrame, at entry: VirtualAddress) -> Bool {
    guard machine.replaceEntry(frame.untouchedEntry, with: .empty, atLinear: entry) else { return false }
    #if INTERNAL_CHECKS
      checkZero(frame)
    #endif
    return true
  }

  /// Leaves the highest `kept` of the pages that were lent to their stack: the lowest of these was touched.
  @inline(never) private func keep(_ kept: Int, of lent: Int) {
    let cpu = machine.currentCPU
    let reserve = control.pointee.lending.reserve(ofCPU: cpu)
    let first = reserve.reservedFrames + (reserve.pointee.count &- lent)
    let grown = control.pointee.grownFrames(of: reserve)
    for index in 0..<kept {
      let entry = reserve.pointee.highestLentEntry + -index &* StackPages.entryBytes
      // Fails where a CPU has set the flag by itself.
      _ = machine.replaceEntry(first[index].untouchedEntry, with: first[index].entry, atLinear: entry)
      grown[first[index].node] &+= 1
    }
    for index in 0..<(lent &- kept) { first[index] = first[kept &+ index] }
    reserve.pointee.count &-= kept
    let marker = reserve.pointee.lowestEntry(of: lent) + control.pointee.markerDistance
    let owner = StackMarker(entry: machine.readEntry(atLinear: marker))
    // The kernel's switch has interrupts off.
    if owner.isCharged {
      GroupAccounts(control).chargeGrowth(kept, to: owner.group, cpu: cpu, .promised())
    }
  }

  // MARK: Checks

  #if INTERNAL_CHECKS
    /// Checks what makes lending sound, for a stack that pages are about to be lent to.
    ///
    /// 1. The pages that it lacks are its lowest, and no CPU can have cached a translation of one: their entries are empty,
    ///    all others are valid and not untouched.
    /// 2. The frames are zero, and their entries are those of single pages without the contiguous bit.
    private func checkLendable(_ base: VirtualAddress) {
      guard control.pointee.isGrowing(base) else { return }
      let reserve = control.pointee.reserve(ofCPU: machine.currentCPU)
      var rest = control.pointee.pages(ofBase: base)
      var isLacking = true
      while let location = rest.popFirst() {
        let entry = machine.readEntry(at: location)
        if isLacking, entry.isEmpty { continue }
        isLacking = false
        precondition(entry.isValid && entry.isAccessed, "a stack has a hole, or an untouched page")
      }
      for index in 0..<reserve.pointee.count {
        let frame = reserve.reservedFrames[index]
        precondition(frame.untouchedEntry.isSinglePage, "a reserved entry is not that of a single page")
        checkZero(frame)
      }
    }

    /// Checks that a frame was not written while it was lent: it will be handed out as zeroed.
    private func checkZero(_ frame: ReservedFrame) {
      let words = machine.pointer(to: frame.entry.frame.physicalAddress).assumingMemoryBound(to: UInt64.self)
      for index in 0..<(pageSize / 8) {
        precondition(words[index] == 0, "a page was written, and its entry is untouched")
      }
    }
  #endif
}

/// What a switch needs to find a stack's entries and a CPU's reserve, side by side.
struct LendingPlan {
  /// The base of the first slot's stack.
  let firstStack: UInt
  /// The bytes from there on in which the bases of stacks lie that take the straight way: all, if stacks have four pages.
  let straightByteCount: UInt
  let slotGroupSpanShift: Int
  let slotGroups: UnsafeMutablePointer<SlotGroup>
  /// The bits of a stack's distance from the first that count within its slot group.
  let slotGroupSpanMask: UInt
  /// What leads from the first entry of a window to the linear map's address of the entry below the top page's.
  let highestEntryOffset: UInt
  /// The first CPU's reserve, and how far apart they are.
  let firstReserve: UnsafeMutableRawPointer
  let cpuStride: Int

  /// The address in the linear map of the highest entry that a stack can lack.
  ///
  /// - Parameter distance: the stack's base, seen from the first. Its slot group must have a table.
  @inline(__always) func highestEntry(of distance: UInt) -> VirtualAddress {
    let group = slotGroups + Int(bitPattern: distance &>> UInt(bitPattern: slotGroupSpanShift))
    let offset = (distance & slotGroupSpanMask) &>> UInt(bitPattern: StackPages.entryShift)
    return VirtualAddress(group.pointee.location &+ highestEntryOffset &+ offset)
  }

  @inline(__always) func reserve(ofCPU cpu: Int) -> UnsafeMutablePointer<StackReserve> {
    (firstReserve + cpu &* cpuStride).assumingMemoryBound(to: StackReserve.self)
  }
}

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable, M: AccessFlagMachine {
  /// What a kernel's switch needs to lend pages to running threads, in place of growth on a fault.
  public var lender: StackLender<M> { StackLender(machine: machine, control: control) }
}
