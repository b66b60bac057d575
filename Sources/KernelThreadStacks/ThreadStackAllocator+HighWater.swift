// How much of its stack a thread has used, without touching the stack.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// How many pages are mapped behind a stack.
  ///
  /// It reads page-table entries only; nothing is faulted in. 0 for an address that is no stack's base.
  public borrowing func mappedPageCount(_ base: VirtualAddress) -> Int {
    if isLinear { return isLinearAddress(base) ? geometry.pageCount : 0 }
    return seenPageCount(base) ?? 0
  }

  /// The most pages that a thread has used of its stack since it was handed out: those that are mapped, or, if the stack
  /// has been shrunk, those that were mapped before.
  ///
  /// It reads page-table entries only; nothing is faulted in. 0 for an address that is no stack's base. For strategies
  /// that map stacks whole, it is the whole stack.
  public borrowing func highWaterPageCount(_ base: VirtualAddress) -> Int {
    max(mappedPageCount(base), deepestPageCount(base))
  }

  /// How many bytes, counted from the top, a thread has used of its stack since it was handed out: down to the lowest
  /// word that is not zero.
  ///
  /// The frames are read where the linear map has them; nothing is faulted in. Zeroes that the thread has stored below
  /// all else are not seen. Pages that the stack had and gave up when it was shrunk count whole: what was in them is not
  /// known any more. `thread_info` and end marker don't count, unless they lie at the top.
  ///
  /// - Parameter base: the stack's base; the stack is in use.
  /// - Complexity: O(bytes mapped).
  public borrowing func highWaterByteCount(_ base: VirtualAddress) -> Int {
    let deepest = deepestPageCount(base)
    if deepest > 0, deepest > mappedPageCount(base) { return deepest &* pageSize }
    let top = base + geometry.size
    var first = (geometry.usableRange(base: base).base - base) &>> 3
    var page = base + first &>> 9 &* pageSize
    first &= 511
    while page < top {
      if let frame = self.page(of: page) {
        let words = machine.pointer(to: frame.physicalAddress).assumingMemoryBound(to: UInt64.self)
        for index in first..<512 where words[index] != 0 { return top - (page + index &* 8) }
      }
      page = page + pageSize
      first = 0
    }
    return 0
  }

  /// How many frames the reserves of all CPUs and the refill pool behind them hold.
  public var reservedFrameCount: Int {
    var sum = refillPool.count
    for cpu in 0..<layout.cpuCount { sum &+= reserve(ofCPU: cpu).pointee.count }
    return sum
  }

  /// How many pages stacks have grown by.
  public var grownPageCount: Int {
    guard isGrowing else { return 0 }
    var sum = 0
    for cpu in 0..<layout.cpuCount {
      for node in 0..<layout.nodeCount { sum &+= grownFrames(of: reserve(ofCPU: cpu))[node] }
    }
    return sum
  }

  /// The most pages that a stack had before it was shrunk; 0 if it never was, and for strategies that don't shrink.
  borrowing func deepestPageCount(_ base: VirtualAddress) -> Int {
    shrinkableStack(base)?.marker.deepestPageCount ?? 0
  }

  /// How many pages a stack has, the topmost ones: those with valid entries that are not just lent; `nil` where there is no
  /// table, and for an address that is no stack's base.
  @inline(__always) borrowing func seenPageCount(_ base: VirtualAddress) -> Int? {
    guard let slot = slot(containing: base), base == self.base(ofSlot: slot), let view = view(ofSlot: slot)
    else {
      return nil
    }
    let pages = pages(ofBase: base, in: view)
    let top = geometry.pageCount &- 1
    var mapped = 0
    while mapped <= top, isOwn(machine.readEntry(at: pages[top &- mapped])) { mapped &+= 1 }
    return view.wasThere ? mapped : nil
  }

  /// Whether an entry maps a page that is the stack's own, or that its thread has touched while it was lent.
  @inline(__always) func isOwn(_ entry: PageTableEntry) -> Bool { entry.isValid && entry.isAccessed }
}
