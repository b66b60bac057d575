// Clearing only what a former owner has used, where the CPUs keep dirty state (see PageTableEntry+DirtyState.swift).
//
//     a cached stack's entries            base                            top
//                                    +--------+--------+--------+--------+
//                                    | dirty  | clean  | clean  | dirty  |
//                                    +--------+--------+--------+--------+
//                                    thread_info                 frames
//      handed out again              cleared   as it is          cleared
//
// What always holds: a page whose entry is clean reads as zero. Frames are cleared before they are mapped, they are mapped
// clean, and from then on every store through the stack's addresses makes its page dirty. Stores by another way, through
// the linear map or by a device, leave no mark: whoever makes them says so (`markWritten`).
//
// Who sees the mark. A CPU's update of an entry is ordered by a barrier for loads and stores that the same CPU executes, and by
// nothing else. So each CPU that has stored to a stack executes one (`completeAccesses`) before another looks:
//
//     the CPU that made the stack, and wrote to it    before others may run its thread     ThreadScheduler.enqueue
//     the CPUs that its thread has run on             when the thread leaves each of them  ThreadScheduler.next
//     the CPU that it was freed on                    when its cache passes it on          `completeBeforePassingOn`
//     the CPU that hands it out                       before it looks                      `clearDirtyPages`
//
// Left are other threads that store to the stack while its own thread lives. A page that the thread itself has stored to is
// dirty anyway; for others, `markWritten`.
//
// A page stays dirty until its stack is unmapped. Making it clean earlier would take an invalidation of its own, more
// than clearing a page costs; a stack that goes through the retirement ring has its invalidation there, and what is
// mapped afterwards is clean again.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Whether only those pages of a cached stack are cleared that were used: ``StackStrategy/vmalloc`` on CPUs that keep
  /// dirty state.
  public var clearsOnlyDirtyPages: Bool { control.pointee.caching.clearedBytes == 0 }

  /// Clears the pages of a mapped stack that may have been stored to.
  @inline(never) func clearDirtyPages(of base: VirtualAddress) {
    // This CPU's own updates may be under way, those of a former owner that it ran last among them. Other CPUs have waited
    // for theirs: when the owner left them, or when they passed the stack on.
    machine.completeAccesses()
    var page = base
    var rest = pages(ofBase: base)
    while let location = rest.popFirst() {
      if machine.readEntry(at: location).isDirty { machine.clear(page, byteCount: pageSize) }
      page = page + pageSize
    }
  }

  /// Waits for what this CPU has done to stacks that go to the depot, where another CPU may take and look at them.
  @inline(__always) func completeBeforePassingOn() {
    if clearsOnlyDirtyPages { machine.completeAccesses() }
  }

  /// What `allocate` does to a cached stack where only used pages are cleared; for measurements.
  @inline(__always) public borrowing func _clearDirtyPages(of stack: VirtualAddress) {
    clearDirtyPages(of: stack)
  }

  /// How many pages of a stack its owners have stored to since it was mapped; all of them where that is not known.
  ///
  /// It reads page-table entries only. 0 for an address that is no stack's base.
  public borrowing func dirtyPageCount(_ base: VirtualAddress) -> Int {
    guard clearsOnlyDirtyPages else { return mappedPageCount(base) }
    guard let slot = slot(containing: base), base == self.base(ofSlot: slot), let view = view(ofSlot: slot)
    else {
      return 0
    }
    machine.completeAccesses()
    var count = 0
    var rest = pages(ofBase: base, in: view)
    while let location = rest.popFirst() {
      let entry = machine.readEntry(at: location)
      if isOwn(entry), entry.isDirty { count &+= 1 }
    }
    return view.wasThere ? count : 0
  }

  /// Says that a stack in use is written by another way than through its own addresses, such as the linear map or a
  /// device: the pages will be cleared for the next owner.
  ///
  /// Also that another thread than the stack's own writes to pages which that one has not written to.
  ///
  /// To be called before the stack is freed. What is not on a stack is ignored.
  ///
  /// - Parameters:
  ///   - address: the first byte that is written, as an address of the stack.
  ///   - byteCount: how many are.
  public borrowing func markWritten(_ address: VirtualAddress, byteCount: Int) {
    guard clearsOnlyDirtyPages, byteCount > 0, let slot = slot(containing: address) else { return }
    // Under the lock no table goes back: what is stored to is no other memory, even if the address is no stack's any more.
    let section = takeLock()
    markWritten(address, byteCount: byteCount, slot, section.held)
    unlock(section)
  }

  private func markWritten(_ address: VirtualAddress, byteCount: Int, _ slot: Int, _ held: borrowing LockHeld) {
    guard slots.hasTable(slot, held), marker(ofSlot: slot).isLive else { return }
    let base = base(ofSlot: slot)
    let first = max(0, address - base) &>> pageShift
    let end = min(address - base &+ min(byteCount, geometry.stride) &+ 0xfff, geometry.size) &>> pageShift
    let pages = pages(ofSlot: slot)
    var rest = StackPages(from: pages[first], to: pages[end])
    while let location = rest.popFirst() {
      let entry = machine.readEntry(at: location)
      // The same value as the CPU stores, should the owner store to the page at the same moment.
      if entry.isValid, !entry.isDirty { machine.writeEntry(entry.writable, at: location) }
    }
    machine.publishEntries()
  }
}
