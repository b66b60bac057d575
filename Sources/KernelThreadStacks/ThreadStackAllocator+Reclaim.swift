// Memory pressure, and time: freed stacks and empty tables go back, those of all CPUs.
//
// A magazine belongs to its CPU, which uses it without a lock. So that memory pressure on one CPU empties it all the same,
// whoever reclaims lowers the magazine's limit to 0 and goes on. Its CPU meets the limit where it looks at it anyway:
//
//     reclaiming CPU                        the other CPU
//       limit = 0 ----------------------->  its next frees unmap one cached stack each, and what they free, or
//                                           serviceReclaimRequest(), from its timer tick or an interrupt: all at once
//                                           then limit = what was configured
//
// A request that comes while its CPU restores the limit is lost, and meets an empty magazine.

import KernelMachine
import Synchronization

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Gives back frames that no live stack needs: unmapped stacks, then the depot's, then this CPU's cached ones, then empty
  /// tables.
  ///
  /// If that is not enough, the other CPUs are asked to empty their magazines, which they do in their next frees, and at
  /// the latest in ``serviceReclaimRequest()``; what comes back then is not counted here. It takes only spin locks. The
  /// frames that growth relies on are not touched: an idle CPU gives its reserve back by ``releaseReserve()``.
  ///
  /// - Parameter target: how many frames are enough; `Int.max` for all.
  /// - Returns: how many frames went back, which may be more or fewer.
  @discardableResult
  public borrowing func reclaim(target: Int) -> Int {
    var given = completeRetirement(given: 0)
    if given < target { given &+= emptyDepot(target: target &- given) }
    // With interrupts on, the caller may go on on another CPU after each step.
    var emptied = -1
    if given < target {
      let interrupts = turnInterruptsOff()
      emptied = machine.currentCPU
      given &+= emptyMagazine(record(ofCPU: emptied), target: target &- given, interrupts.off)
      restore(interrupts)
    }
    if given < target { given &+= releaseEmptyTables() }
    if given < target { requestMagazines(butOf: emptied) }
    return given
  }

  /// Empties this CPU's magazine if another CPU has asked for it.
  ///
  /// To be called on each CPU now and then, such as from its timer tick, or by an inter-processor interrupt after
  /// ``reclaim(target:)`` has given too little. A CPU that has been asked for nothing does nothing.
  ///
  /// - Returns: how many frames went back.
  @discardableResult
  @inline(__always) public borrowing func serviceReclaimRequest() -> Int {
    let interrupts = turnInterruptsOff()
    let record = record(ofCPU: machine.currentCPU)
    var given = 0
    if record.pointee.owesCompletion != 0 || isAskedToEmpty(record) {
      given = emptyOnRequest(record, interrupts.off)
    }
    restore(interrupts)
    return given
  }

  /// Gives back the cached stacks and the reserve of a CPU that has stopped, for as long as it stays stopped.
  ///
  /// Nothing executes on that CPU any more: the caller has read so, in memory that the CPU stored to as the last of all, by a
  /// store-release or after a barrier, or from the firmware that stopped it. What the CPU did before comes before this, and
  /// this before what makes the CPU start again. It may be the current CPU, which is about to stop.
  ///
  /// - Parameter cpu: its number.
  /// - Returns: how many frames went back; 0 for a CPU that does not exist.
  @discardableResult
  @inline(never) public borrowing func reclaim(fromStoppedCPU cpu: Int) -> Int {
    // A record's common path has no order: it is its CPU's alone, until now.
    atomicMemoryFence(ordering: .acquiring)
    guard isCPU(cpu) else { return 0 }
    let interrupts = turnInterruptsOff()
    let reserved = isGrowing ? releaseReserve(reserve(ofCPU: cpu), interrupts.off) : 0
    let given = emptyMagazine(record(ofCPU: cpu), target: .max, interrupts.off)
    restore(interrupts)
    atomicMemoryFence(ordering: .releasing)
    return reserved &+ given
  }

  // MARK: Magazines

  /// Asks all CPUs but the one whose magazine has been emptied to empty theirs.
  private func requestMagazines(butOf emptied: Int) {
    for cpu in 0..<layout.cpuCount where cpu != emptied {
      record(ofCPU: cpu).pointee.limitMagazine(to: 0)
    }
  }

  @inline(__always) func isAskedToEmpty(_ record: UnsafeMutablePointer<CPURecord>) -> Bool {
    record.pointee.magazineLimit < configuration.cachedStacksPerCPU
  }

  /// Ends a request: the magazine is empty.
  func allowCaching(_ record: UnsafeMutablePointer<CPURecord>) {
    record.pointee.limitMagazine(to: configuration.cachedStacksPerCPU)
  }

  /// Empties this CPU's magazine because another CPU has asked for it.
  @inline(never) private func emptyOnRequest(
    _ record: UnsafeMutablePointer<CPURecord>, _ off: borrowing InterruptsOff
  ) -> Int {
    // What others have unmapped, they complete. If each of many CPUs did so once more, a reclaim would cost as many times as many
    // invalidations.
    if record.pointee.count == 0, record.pointee.owesCompletion == 0 {
      allowCaching(record)
      return 0
    }
    let given = emptyMagazine(record, target: .max, off)
    return given == 0 ? 0 : given &+ releaseEmptyTables()
  }

  /// Takes stacks out of a magazine until their frames reach `target`, and gives these back.
  ///
  /// The magazine is this CPU's, or its CPU has stopped, or nobody else uses the allocator.
  @inline(never)
  func emptyMagazine(
    _ record: UnsafeMutablePointer<CPURecord>, target: Int, _ off: borrowing InterruptsOff
  ) -> Int {
    var given = 0
    var left = target
    let before = record.pointee.count
    while left > 0, let stack = record.popLast(off) {
      left &-= control.pointee.initialPages
      given &+= giveUpCached(stack, off)
    }
    if before > record.pointee.count { noteReturned(before &- record.pointee.count) }
    if record.pointee.count == 0 {
      record.pointee.owesCompletion = 0
      allowCaching(record)
    }
    return completeRetirement(given: given)
  }

  // MARK: The depot

  /// Takes out and unmaps stacks until their frames reach `target`, or no more than `kept` are left.
  ///
  /// The lock is not held. It completes no invalidation but those of full batches.
  ///
  /// - Returns: how many frames have gone back by then.
  @inline(never) private func trimDepot(
    downTo kept: Int, target: Int, _ off: borrowing InterruptsOff
  ) -> Int {
    var given = 0
    var left = target
    while left > 0 {
      let section = takeLock()
      let stack = depot.takeAny(keeping: kept, section.held)
      unlock(section)
      guard let stack else { break }
      left &-= control.pointee.initialPages
      given &+= giveUpCached(stack, off)
    }
    return given
  }

  /// Gives back stacks of the depot until their frames reach `target`.
  func emptyDepot(target: Int) -> Int {
    let interrupts = turnInterruptsOff()
    let given = trimDepot(downTo: 0, target: target, interrupts.off)
    restore(interrupts)
    return completeRetirement(given: given)
  }

  // MARK: What time does

  /// How many stacks one call of ``age()`` unmaps at most.
  private static var stacksPerPeriod: Int { 16 }

  /// Ends a period: what was wanted in it is remembered, what was wanted before counts a quarter less, and a few of the
  /// stacks that nobody has wanted go back.
  ///
  /// Whoever has a clock calls it, about once a second, on one CPU. Without it, the depot keeps what it once was worth
  /// keeping until memory runs short. It takes only spin locks, and at most one invalidation.
  ///
  /// - Returns: how many frames went back.
  /// - Complexity: O(1); it unmaps at most 16 stacks.
  @discardableResult
  public borrowing func age() -> Int {
    let interrupts = turnInterruptsOff()
    let section = takeLock()
    let kept = depot.endPeriod(section.held)
    let surplus = depot.count &- kept
    unlock(section)
    var given = 0
    if surplus > 0 {
      let unmapped = surplus < Self.stacksPerPeriod ? surplus : Self.stacksPerPeriod
      let target = unmapped &* control.pointee.initialPages
      given = trimDepot(downTo: kept, target: target, interrupts.off)
    }
    given = completeRetirement(given: given)
    restore(interrupts)
    return given
  }
}
