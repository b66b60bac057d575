// From an address to its stack: which page, whose bounds, which owner.

import KernelMachine
import Synchronization

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// The address of the current thread's `thread_info`, from its stack pointer, by arithmetic alone.
  ///
  /// It holds for the boot stack too, which lies as the formula wants it.
  public borrowing func threadInfo(stackPointer: VirtualAddress) -> VirtualAddress {
    geometry.threadInfo(stackPointer: stackPointer)
  }

  /// The page frame behind an address on a stack; `nil` where nothing of ours is mapped.
  ///
  /// Unless the caller sees to it that the stack stays, the frame may be somebody else's at the next moment.
  ///
  /// - Complexity: O(1), without a walk of the page tables.
  public borrowing func page(of address: VirtualAddress) -> PageFrame? {
    if let boot = bootStack, boot.contains(address) {
      // It was stored before the base that has been read.
      atomicMemoryFence(ordering: .acquiring)
      return PageFrame(shared.pointee.bootStackFrame) + (address - boot.base) &>> pageShift
    }
    if isLinear { return isLinearAddress(address) ? machine.frame(ofLinear: address) : nil }
    guard let slot = slot(containing: address) else { return nil }
    let base = base(ofSlot: slot)
    let offset = address - base
    guard offset >= 0, offset < geometry.size, let view = view(ofSlot: slot) else { return nil }
    let entry = machine.readEntry(at: pages(ofBase: base, in: view)[offset &>> pageShift])
    return view.wasThere && entry.isValid ? entry.frame : nil
  }

  /// Where a stack pointer lies.
  ///
  /// One at the top of a stack is on that stack, which is empty.
  public borrowing func classify(stackPointer: VirtualAddress) -> StackAddressClass {
    guard stackPointer.rawValue & 15 == 0 else { return .unaligned }
    return classify(address: VirtualAddress(stackPointer.rawValue &- 1))
  }

  /// Where any address lies, such as the one that a fault names.
  public borrowing func classify(address: VirtualAddress) -> StackAddressClass {
    if let boot = bootStack, boot.contains(address) { return .bootStack(boot) }
    if isLinear {
      guard isLinearAddress(address) else { return .elsewhere }
      return .linearMap(geometry.bounds(base: geometry.stackBase(containing: address)))
    }
    guard let slot = slot(containing: address) else { return .elsewhere }
    let bounds = geometry.bounds(base: base(ofSlot: slot))
    guard let marker = seenMarker(ofSlot: slot, base: bounds.base), marker.isLive else {
      return .unusedSlot(bounds)
    }
    return address >= bounds.base ? .stack(bounds) : .stackGuard(bounds)
  }

  /// Takes a detached stack into ownership again, after checks at run time: for owners such as C, which free by address.
  ///
  /// The address must have come from ``ThreadStack/detach()``. What is found out: a foreign address, one within a stack,
  /// a stack that has been freed already. For ``StackStrategy/linear``, which has no record per stack, a double free is
  /// found out until somebody else has the memory; if nobody has, and the mark in it is gone, the frame source refuses it
  /// (see ``refusedFreeCount``). Two CPUs that free the same address at the same time are not told apart.
  public borrowing func stack(at address: VirtualAddress) throws(ThreadStackError) -> ThreadStack {
    if isLinear {
      try checkNotOfBootStack(address)
      return try linearStack(at: address)
    }
    let slot = try slot(ofStackAt: address)
    guard let marker = seenMarker(ofSlot: slot, base: address), marker.isLive else { throw .notLive(address) }
    return ThreadStack(marker.stack(at: address), control: control)
  }

  private func checkNotOfBootStack(_ address: VirtualAddress) throws(ThreadStackError) {
    if let boot = bootStack, boot.contains(address) { throw .bootStack(address) }
  }

  /// The slot whose stack begins at an address.
  @inline(never) func slot(ofStackAt address: VirtualAddress) throws(ThreadStackError) -> Int {
    try checkNotOfBootStack(address)
    guard let slot = slot(containing: address) else { throw .foreignAddress(address) }
    guard address == base(ofSlot: slot) else { throw .unalignedAddress(address) }
    return slot
  }

  @inline(never)
  private func linearStack(at address: VirtualAddress) throws(ThreadStackError) -> ThreadStack {
    guard isLinearAddress(address) else { throw .foreignAddress(address) }
    guard geometry.stackBase(containing: address) == address else { throw .unalignedAddress(address) }
    let frame = machine.frame(ofLinear: address)
    guard frames.contains(frame) else { throw .foreignAddress(address) }
    guard lowestWord(ofLinear: address).pointee != freedMark(of: address) else { throw .notLive(address) }
    let home = layout.nodeCount == 1 ? 0 : frames.node(of: frame).index
    return ThreadStack(PackedStack(base: address, node: home, isMixed: false), control: control)
  }

  // MARK: Linear stacks

  // Such a stack has no place outside of itself that says whether it is live. While it is freed, its memory is the
  // allocator's: its lowest word then holds a mark, which goes when the stack is cleared for its next owner. Only who owns
  // a stack may ask about it, so nobody reads the word while another CPU writes it.

  /// What the lowest word of a freed linear stack holds: no address of anything.
  func freedMark(of base: VirtualAddress) -> UInt { ~base.rawValue }

  func lowestWord(ofLinear base: VirtualAddress) -> UnsafeMutablePointer<UInt> {
    machine.pointer(to: PhysicalAddress(base.rawValue &- machine.linearMapOffset))
      .assumingMemoryBound(to: UInt.self)
  }

  /// Notes that a linear stack has been freed.
  @inline(__always) func markFreed(linear stack: PackedStack) {
    lowestWord(ofLinear: stack.base).pointee = freedMark(of: stack.base)
  }

  // MARK: Slots

  /// The slot that an address lies in, its guard included.
  @inline(__always) func slot(containing address: VirtualAddress) -> Int? {
    let offset = address.rawValue &- firstWindow &+ UInt(bitPattern: geometry.areaLead)
    let slot = offset &>> UInt(bitPattern: geometry.strideShift)
    return slot < UInt(bitPattern: layout.slotCount) ? Int(bitPattern: slot) : nil
  }

  /// What became of a slot's stack, which is the caller's; or the lock is held, and the slot has entries.
  func marker(ofSlot slot: Int) -> StackMarker {
    StackMarker(entry: machine.readEntry(at: markerEntry(ofSlot: slot)))
  }

  func isLinearAddress(_ address: VirtualAddress) -> Bool {
    let offset = machine.linearMapOffset
    return address.rawValue >= offset
      && address.rawValue &- offset < 1 &<< UInt(bitPattern: machine.virtualAddressBits &- 1)
  }
}
