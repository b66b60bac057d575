// Switching in a thread whose stack may grow, and refilling the reserve that it grows from.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// What an exception handler needs to let stacks grow.
  public var grower: StackGrower<M> { StackGrower(machine: machine, control: control) }

  /// Makes sure that a thread can grow its stack to the end, before it is switched in.
  ///
  /// To be called with interrupts off, on a stack that cannot fault and is nobody's (the exception stack), on the CPU that
  /// is to run the thread. A thread that may not run has to wait; ask again when memory may have come free. Threads that
  /// wait are to be asked first and in the order in which they came, and while one waits, `mayTakeFrames` is false for all
  /// others: these run if what is there suffices.
  ///
  /// - Parameters:
  ///   - base: the base of the thread's stack. One that is not of this allocator needs nothing.
  ///   - mayTakeFrames: whether the reserve may be refilled.
  /// - Returns: whether the thread may run.
  /// - Complexity: a comparison while the reserve is full; else O(pages of a stack).
  @inline(__always)
  public borrowing func prepareToRun(_ base: VirtualAddress, mayTakeFrames: Bool = true) -> Bool {
    let reserve = reserve(ofCPU: machine.currentCPU)
    if reserve.pointee.count == reserve.pointee.readyCount { return true }
    // The kernel's switch has interrupts off.
    return prepareByRefilling(base, mayTakeFrames, reserve, .promised())
  }

  /// Says how many threads wait for frames that their stacks may need.
  ///
  /// While there are any, no new stack is made: a stack that comes out of a cache is handed out, one that would take
  /// frames is refused with ``ThreadStackError/refillsWait(threads:)``. So those who make threads or processes, and take
  /// the stack first, cannot take each frame that comes free before a refill does.
  ///
  /// Whoever keeps the queue of those that wait calls it whenever their number has changed, under the queue's lock. An
  /// `allocate` that is under way on another CPU may not see it yet.
  public borrowing func noteRefillWaiters(_ count: Int) {
    shared.pointee.refillWaiterCount = count
  }

  /// How many pages of a stack are not mapped: what a thread that waits is waiting for.
  ///
  /// 0 for an address that is no stack's base of this allocator.
  @inline(__always) public borrowing func missingPageCount(_ base: VirtualAddress) -> Int {
    guard isGrowing, let mapped = seenPageCount(base) else { return 0 }
    return geometry.pageCount &- mapped
  }

  /// Gives this CPU's reserve back, because the CPU runs no thread that grows: to the refill pool while that has room, then to
  /// the frame source.
  ///
  /// The conditions are those of ``prepareToRun(_:mayTakeFrames:)``. The next such call fills it again. It is for CPUs
  /// that idle on a stack of their own which is mapped to the end.
  ///
  /// - Returns: how many frames went back.
  public borrowing func releaseReserve() -> Int {
    let interrupts = turnInterruptsOff()
    let given = releaseReserve(reserve(ofCPU: machine.currentCPU), interrupts.off)
    restore(interrupts)
    return given
  }

  /// Fills this CPU's reserve, and the refill pool, as far as memory allows.
  ///
  /// The conditions are those of ``prepareToRun(_:mayTakeFrames:)``.
  public borrowing func fillReserve() {
    let interrupts = turnInterruptsOff()
    fill(reserve(ofCPU: machine.currentCPU), interrupts.off)
    restore(interrupts)
  }

  /// Fills the refill pool, from which CPUs take what the frame source does not give them at a switch.
  ///
  /// It may sleep where the frame source may: for kernels whose page allocator does, from a thread that runs before others need
  /// frames. Interrupts are on, and it needs no particular stack.
  ///
  /// - Returns: whether the pool is full.
  public borrowing func fillRefillPool() -> Bool {
    isGrowing ? fillRefillPool(mayWait: true) : true
  }

  /// Maps pages of a stack on which nobody runs, so that its topmost `bytes` take no fault.
  ///
  /// It is for stacks that must never fault, such as those of idle threads.
  ///
  /// - Throws: ``ThreadStackError/beyondStack(requestedBytes:availableBytes:)``,
  ///   ``ThreadStackError/frames(_:)``, or ``ThreadStackError/groupLimit(_:)``; what has been mapped by then
  ///   stays.
  public borrowing func populate(_ stack: borrowing ThreadStack, bytes: Int) throws(ThreadStackError) {
    let available = geometry.size
    guard bytes >= 0, bytes <= available else {
      throw .beyondStack(requestedBytes: bytes, availableBytes: available)
    }
    guard isGrowing else { return }
    let pages = pages(ofBase: stack.base)
    let lowest = (available &- bytes) &>> pageShift
    // The top page is always mapped.
    var page = geometry.pageCount &- 1
    defer { machine.publishEntries() }
    while page > lowest {
      page &-= 1
      guard machine.readEntry(at: pages[page]).isEmpty else { continue }
      let group = group(of: stack)
      if let group { try charge(1, to: group) }
      do {
        let frame = try frames.allocate(
          FrameRequest(node: stack.node, purpose: .threadStack, cleared: true))
        machine.writeEntry(arena.stackEntry(for: frame), at: pages[page])
        let node = layout.nodeCount == 1 ? 0 : frames.node(of: frame).index
        let interrupts = turnInterruptsOff()
        record(ofCPU: machine.currentCPU).countMapped(1, ofNode: node, interrupts.off)
        restore(interrupts)
      } catch {
        if let group { uncharge(1, from: group.index) }
        throw .frames(error)
      }
    }
  }

  // MARK: Refilling

  /// The rest of `prepareToRun`: the reserve is not full, or the refill pool was not when it was last looked at.
  @inline(never)
  private borrowing func prepareByRefilling(
    _ base: VirtualAddress, _ mayTakeFrames: Bool, _ reserve: UnsafeMutablePointer<StackReserve>,
    _ off: borrowing InterruptsOff
  ) -> Bool {
    let missing = missingPageCount(base)
    if mayTakeFrames {
      fill(reserve, off)
      if reserve.pointee.count < missing, takeFromRefillPool(reserve, until: missing, off) < missing,
        reclaim(target: missing) > 0
      {
        fill(reserve, off)
      }
    }
    return reserve.pointee.count >= missing
  }

  /// Fills a reserve from the frame source, then the refill pool.
  borrowing func fill(_ reserve: UnsafeMutablePointer<StackReserve>, _ off: borrowing InterruptsOff) {
    let limit = layout.reserveLimit
    while reserve.pointee.count < limit, let frame = takeReservedFrame(mayWait: false) {
      reserve.reservedFrames[reserve.pointee.count] = frame
      reserve.pointee.count &+= 1
    }
    let isComplete = reserve.pointee.count == limit && fillRefillPool(mayWait: false)
    reserve.pointee.readyCount = isComplete ? limit : -1
  }

  /// Moves frames from the refill pool until a reserve has `count`, and tells how many it has then.
  private borrowing func takeFromRefillPool(
    _ reserve: UnsafeMutablePointer<StackReserve>, until count: Int, _ off: borrowing InterruptsOff
  ) -> Int {
    let section = takeLock()
    while reserve.pointee.count < count, let frame = refillPool.take(section.held) {
      reserve.reservedFrames[reserve.pointee.count] = frame
      reserve.pointee.count &+= 1
    }
    unlock(section)
    return reserve.pointee.count
  }

  /// Fills the refill pool from the frame source and tells whether it is full.
  ///
  /// The lock is not held while memory is asked for; what is too much by then goes back.
  private borrowing func fillRefillPool(mayWait: Bool) -> Bool {
    while !isRefillPoolFull {
      guard let frame = takeReservedFrame(mayWait: mayWait) else { return false }
      if !putIntoRefillPool(frame) { _ = giveBack(frame.entry.frame, order: 0) }
    }
    return true
  }

  /// Whether the refill pool needs no more frames for now.
  var isRefillPoolFull: Bool {
    let section = takeLock()
    let isFull = refillPool.isFull(section.held)
    unlock(section)
    return isFull
  }

  /// Puts a zeroed frame into the refill pool, and tells whether there was room.
  borrowing func putIntoRefillPool(_ frame: ReservedFrame) -> Bool {
    let section = takeLock()
    let isTaken = refillPool.put(frame, section.held)
    unlock(section)
    return isTaken
  }

  private borrowing func takeReservedFrame(mayWait: Bool) -> ReservedFrame? {
    do {
      let request = FrameRequest(node: homeNode, purpose: .threadStack, cleared: true)
      let frame = mayWait ? try frames.allocate(request) : try frames.allocateWithoutWaiting(request)
      let node = layout.nodeCount == 1 ? 0 : frames.node(of: frame).index
      return ReservedFrame(entry: arena.stackEntry(for: frame), node: node)
    } catch { return nil }
  }

  // MARK: The beginning and the end

  /// Fills all reserves and the refill pool as far as memory allows; nobody else uses the allocator yet.
  borrowing func fillReserves() {
    for cpu in 0..<layout.cpuCount {
      let interrupts = turnInterruptsOff()
      fill(reserve(ofCPU: cpu), interrupts.off)
      restore(interrupts)
    }
  }

  /// Gives back all reserves and the refill pool; nobody else uses the allocator any more.
  borrowing func emptyReserves() {
    for cpu in 0..<layout.cpuCount {
      let interrupts = turnInterruptsOff()
      _ = releaseReserve(reserve(ofCPU: cpu), interrupts.off)
      restore(interrupts)
    }
    while let frame = takeFromRefillPool() { _ = giveBack(frame.entry.frame, order: 0) }
  }

  private borrowing func takeFromRefillPool() -> ReservedFrame? {
    let section = takeLock()
    let frame = refillPool.take(section.held)
    unlock(section)
    return frame
  }

  /// Empties a reserve into the refill pool, so that nobody who asks for memory comes before a refill; what does not fit there
  /// goes to the frame source.
  borrowing func releaseReserve(
    _ reserve: UnsafeMutablePointer<StackReserve>, _ off: borrowing InterruptsOff
  ) -> Int {
    precondition(reserve.pointee.lending == 0, "a reserve is to be given back of which frames are lent")
    var given = 0
    reserve.pointee.readyCount = layout.reserveLimit == 0 ? 0 : -1
    while reserve.pointee.count > 0 {
      reserve.pointee.count &-= 1
      let frame = reserve.reservedFrames[reserve.pointee.count]
      given &+= putIntoRefillPool(frame) ? 1 : giveBack(frame.entry.frame, order: 0)
    }
    return given
  }

  // MARK: Where they are

  @inline(__always) func reserve(ofCPU cpu: Int) -> UnsafeMutablePointer<StackReserve> {
    control.pointee.reserve(ofCPU: cpu)
  }

  func grownFrames(of reserve: UnsafeMutablePointer<StackReserve>) -> UnsafeMutablePointer<Int> {
    control.pointee.grownFrames(of: reserve)
  }
}
