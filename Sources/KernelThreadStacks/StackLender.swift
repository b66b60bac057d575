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
// What makes it sound (docs/lent-pages.md, verify/lending.pml, verify/litmus/lend-*): an untouched entry is in no TLB, and
// an entry becomes valid only after the invalidation that followed its last life.
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
  /// the thread runs. That is checked in builds with InternalChecks only. No lock, no request for memory, no invalidation.
  ///
  /// - Parameter base: the base of the thread's stack. One that is not of this allocator, or that has all its pages, is left
  ///   as it is.
  /// - Complexity: O(pages lent).
  @inline(__always) public func lend(to base: VirtualAddress) {
    guard control.pointee.isGrowing(base) else { return }
    let reserve = control.pointee.reserve(ofCPU: machine.currentCPU)
    #if InternalChecks
      checkReserve(reserve, base)
    #endif
    let start = reserve.reservedFrames + reserve.pointee.count
    var frame = start
    let entries = control.pointee.stackEntries(ofBase: base)
    var location = entries
    // The top page is always mapped: the search ends there.
    while machine.readEntry(at: location).isEmpty {
      frame -= 1
      machine.writeEntry(frame.pointee.entry.untouched, at: location)
      location = location + StackPages.entryBytes
    }
    let lent = start - frame
    guard lent > 0 else { return }
    reserve.pointee.lentCount = lent
    reserve.pointee.lentEntries = entries
    machine.publishEntries()
  }

  /// Takes back what was lent on this CPU and not touched, and leaves the rest to the thread.
  ///
  /// To be called when the thread does not run any more, on the CPU that it ran on, before another thread is prepared
  /// there or the thread can run elsewhere.
  ///
  /// - Complexity: O(pages lent).
  @inline(__always) public func takeBack() {
    let cpu = machine.currentCPU
    let reserve = control.pointee.reserve(ofCPU: cpu)
    let lent = reserve.pointee.lentCount
    guard lent > 0 else { return }
    reserve.pointee.lentCount = 0
    var rest = StackPages(reserve.pointee.lentEntries, count: lent)
    var frame = reserve.reservedFrames + reserve.pointee.count
    repeat {
      frame -= 1
      guard machine.replaceEntry(frame.pointee.entry.untouched, with: .empty, at: rest.first) else {
        return keep(rest, of: lent, reserve, cpu)
      }
      #if InternalChecks
        checkZero(frame.pointee)
      #endif
      _ = rest.removeFirst()
    } while !rest.isEmpty
  }

  /// Leaves pages to a stack, of which the lowest was touched: the topmost of those that were lent.
  @inline(never) private func keep(
    _ pages: StackPages, of lent: Int, _ reserve: UnsafeMutablePointer<StackReserve>, _ cpu: Int
  ) {
    let kept = pages.count
    let first = reserve.reservedFrames + (reserve.pointee.count &- lent)
    let grown = control.pointee.grownFrames(of: reserve)
    var frame = first + kept
    var rest = pages
    while let location = rest.popFirst() {
      frame -= 1
      let entry = frame.pointee.entry
      // Fails where a CPU has set the flag by itself.
      _ = machine.replaceEntry(entry.untouched, with: entry, at: location)
      grown[frame.pointee.node] &+= 1
    }
    for index in 0..<(lent &- kept) { first[index] = first[kept &+ index] }
    reserve.pointee.count &-= kept
    let marker = reserve.pointee.lentEntries + control.pointee.markerDistance
    let owner = StackMarker(entry: machine.readEntry(at: marker))
    // The kernel's switch has interrupts off.
    if owner.isCharged {
      GroupAccounts(control).chargeGrowth(kept, to: owner.group, cpu: cpu, .promised())
    }
  }

  #if InternalChecks
    /// Checks that nothing is lent on this CPU, and that its reserve has a frame for each page that a stack lacks.
    private func checkReserve(_ reserve: UnsafeMutablePointer<StackReserve>, _ base: VirtualAddress) {
      precondition(reserve.pointee.lentCount == 0, "pages are lent that were not taken back")
      var missing = 0
      var rest = control.pointee.pages(ofBase: base)
      while let location = rest.popFirst(), machine.readEntry(at: location).isEmpty { missing &+= 1 }
      precondition(missing <= reserve.pointee.count, "pages are lent to a thread that was not prepared")
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

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable, M: AccessFlagMachine {
  /// What a kernel's switch needs to lend pages to running threads, in place of growth on a fault.
  public var lender: StackLender<M> { StackLender(machine: machine, control: control) }
}
