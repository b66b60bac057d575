// ks_stack_allocate and ks_stack_free: misuse that Swift's ownership rules out at compile time is detected here at run time.
//
// Of two CPUs that free the same address at the same moment, one must find the stack freed already. For stacks in slots the
// allocator sees to that (ThreadStackAllocator+ByAddress.swift). Linear stacks have no word of their own for it, so the check of
// their address and the free happen under one of several locks, chosen by the address: CPUs that free different stacks rarely
// share one.
//
// A stack that the CPU has left is freed before anything else, so that its frames and those of the call are never on top of each
// other.
//
// The two functions do the most frequent thing themselves, with few registers to save, and leave all else to another that does it
// from the beginning: so conditions here may be stricter than they must be.
#if hasFeature(Embedded)
  import CAArch64
  import KernelMachine
  import KernelPageFrames
  import KernelStacksCHeader
  import KernelThreadStacks

  @c @implementation func ks_stack_allocate(
    _ handle: CStacksHandle, _ nodeNumber: Int32, _ error: UnsafeMutablePointer<ks_error>!
  ) -> UnsafeMutableRawPointer! {
    let records = handle?.pointee.opaque
    guard !ks_is_any_leaving(), let records,
      withAllocator(records, { $0.pointee.servesAnyCached(node: nodeNumber) })
    else {
      freeLeftStack()
      return allocateStack(records, nodeNumber, error)
    }
    let stack = withAllocator(records) {
      $0.pointee.takeCached { base, offset, byteCount in
        byteCount > 0
          ? ca_clear_within(base.rawValue, UInt64(byteCount), UInt64(offset)) : base.pointer
      }
    }
    guard let stack else { return allocateStack(records, KS_ANY_NODE, error) }
    return stack
  }

  // A C function, so that it can be left to: its result is a pointer like that of its caller, not an optional one.
  @c(kernel_stacks_allocate) @inline(never) func allocateStack(
    _ records: UnsafeMutableRawPointer?, _ nodeNumber: Int32, _ error: UnsafeMutablePointer<ks_error>?
  ) -> UnsafeMutableRawPointer? {
    guard let records else { return refuseStack(.stacksNotMade, error) }
    var node: NodeID?
    if nodeNumber != KS_ANY_NODE {
      guard nodeNumber >= 0, Int(nodeNumber) < CFrames().nodeCount else {
        return refuseStack(.unknownNode(Int(nodeNumber), count: CFrames().nodeCount), error)
      }
      node = NodeID(Int(nodeNumber))
    }
    return withAllocator(records) { stacks in
      do throws(ThreadStackError) {
        return try stacks.pointee.allocate(node: node).detach().pointer
      } catch let refusal { _ = report(refusal, to: error) }
      return nil
    }
  }

  @inline(never) func refuseStack(
    _ refusal: CInterfaceError, _ error: UnsafeMutablePointer<ks_error>?
  ) -> UnsafeMutableRawPointer? {
    _ = report(refusal, to: error)
    return nil
  }

  @c @implementation func ks_stack_free(
    _ handle: CStacksHandle, _ base: UnsafeMutableRawPointer!, _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    let records = handle?.pointee.opaque
    if !ks_is_any_leaving(), let records {
      let address = VirtualAddress(UInt(bitPattern: base))
      let isFreed = withAllocator(records) {
        $0.pointee.freeAtHand(at: address, stackPointer: VirtualAddress(ks_frame_address()))
      }
      if isFreed { return KS_OK }
    }
    return freeAfterLeftStack(records, base, error)
  }

  /// Frees what this CPU has left, then a stack.
  @inline(never) private func freeAfterLeftStack(
    _ records: UnsafeMutableRawPointer?, _ base: UnsafeMutableRawPointer?,
    _ error: UnsafeMutablePointer<ks_error>?
  ) -> ks_code {
    freeLeftStack()
    return freeStack(ofRecords: records, at: base, error)
  }

  /// Frees a stack, whatever this CPU has left.
  @inline(never) func freeStack(
    ofRecords records: UnsafeMutableRawPointer?, at base: UnsafeMutableRawPointer?,
    _ error: UnsafeMutablePointer<ks_error>?
  ) -> ks_code {
    guard let records else { return reportMisuse(CInterfaceError.stacksNotMade, to: error) }
    let address = VirtualAddress(UInt(bitPattern: base))
    let byteCount = withAllocator(records) { $0.pointee.geometry.size }
    if isStackPointer(within: address.rawValue, byteCount: byteCount) {
      return reportMisuse(CInterfaceError.runningStack(address.rawValue), to: error)
    }
    let isLinear = withAllocator(records) { $0.pointee.configuration.strategy == .linear }
    return isLinear
      ? freeLinear(address, ofRecords: records, error) : freeInSlot(address, ofRecords: records, error)
  }

  // Two functions with a frame each: most of what they need is below the frame of the second.

  @inline(never) private func freeLinear(
    _ address: VirtualAddress, ofRecords records: UnsafeMutableRawPointer,
    _ error: UnsafeMutablePointer<ks_error>?
  ) -> ks_code {
    let lock = ks_free_lock(address.rawValue)
    let interrupts = ks_machine_lock(lock)
    return withAllocator(records) { stacks in
      do throws(ThreadStackError) {
        try checkLinear(address, stacks)
        try stacks.pointee.free(linearBlockAt: address)
        ks_machine_unlock(lock, interrupts)
        return KS_OK
      } catch let refusal {
        ks_machine_unlock(lock, interrupts)
        return reportMisuse(refusal, to: error)
      }
    }
  }

  @inline(never) private func freeInSlot(
    _ address: VirtualAddress, ofRecords records: UnsafeMutableRawPointer,
    _ error: UnsafeMutablePointer<ks_error>?
  ) -> ks_code {
    withAllocator(records) { stacks in
      do throws(ThreadStackError) {
        try stacks.pointee.free(at: address)
        return KS_OK
      } catch let refusal { return reportMisuse(refusal, to: error) }
    }
  }

  /// Takes the stack at an address into ownership.
  @inline(__always) func liveStack(
    at address: VirtualAddress, _ stacks: UnsafePointer<CStacks>
  ) throws(ThreadStackError) -> ThreadStack {
    if stacks.pointee.configuration.strategy == .linear { try checkLinear(address, stacks) }
    return try stacks.pointee.stack(at: address)
  }

  /// Linear stacks have no record of their own; the buddy allocator records what it has handed out.
  @inline(never)
  private func checkLinear(
    _ address: VirtualAddress, _ stacks: UnsafePointer<CStacks>
  ) throws(ThreadStackError) {
    if let boot = stacks.pointee.bootStack, boot.contains(address) { throw .bootStack(address) }
    guard let block = ks_frames().pointee.linear_block else { throw .foreignAddress(address) }
    let physical = UInt64(address.rawValue &- CMachine().linearMapOffset)
    switch block(physical, stacks.pointee.geometry.size) {
    case KS_BLOCK_IS_STACK: return
    case KS_BLOCK_IS_FREE: throw .notLive(address)
    case KS_BLOCK_IS_IN_STACK: throw .unalignedAddress(address)
    default: throw .foreignAddress(address)
    }
  }

  @c @implementation func ks_stack_quarantine(
    _ handle: CStacksHandle, _ base: UnsafeMutableRawPointer!
  ) -> Bool {
    allocator(handle)?.pointee.quarantine(at: VirtualAddress(UInt(bitPattern: base))) ?? false
  }

  // MARK: From an address to its stack

  private func place(_ place: StackAddressClass) -> ks_stack_place {
    func result(_ kind: ks_place, _ bounds: StackBounds? = nil) -> ks_stack_place {
      ks_stack_place(
        place: kind, base: UInt64(bounds?.base.rawValue ?? 0), top: UInt64(bounds?.top.rawValue ?? 0))
    }
    switch place {
    case .stack(let bounds): return result(KS_ON_STACK, bounds)
    case .stackGuard(let bounds): return result(KS_IN_GUARD, bounds)
    case .unusedSlot(let bounds): return result(KS_IN_UNUSED_SLOT, bounds)
    case .bootStack(let bounds): return result(KS_ON_BOOT_STACK, bounds)
    case .linearMap(let bounds): return result(KS_IN_LINEAR_MAP, bounds)
    case .elsewhere: return result(KS_ELSEWHERE)
    case .unaligned: return result(KS_UNALIGNED)
    }
  }

  @c @implementation func ks_stack_classify(
    _ handle: CStacksHandle, _ stackPointer: UInt
  ) -> ks_stack_place {
    guard let stacks = allocator(handle) else { return place(.elsewhere) }
    return place(stacks.pointee.classify(stackPointer: VirtualAddress(stackPointer)))
  }

  @c @implementation func ks_stack_classify_address(
    _ handle: CStacksHandle, _ address: UInt
  ) -> ks_stack_place {
    guard let stacks = allocator(handle) else { return place(.elsewhere) }
    return place(stacks.pointee.classify(address: VirtualAddress(address)))
  }

  @c @implementation func ks_stack_page_of(_ handle: CStacksHandle, _ address: UInt) -> UInt64 {
    guard let frame = allocator(handle)?.pointee.page(of: VirtualAddress(address)) else { return 0 }
    return UInt64(frame.physicalAddress.rawValue)
  }

  @c @implementation func ks_stack_mapped_size(
    _ handle: CStacksHandle, _ base: UnsafeRawPointer!
  ) -> Int {
    guard let stacks = allocator(handle) else { return 0 }
    return stacks.pointee.mappedPageCount(VirtualAddress(UInt(bitPattern: base))) &* pageSize
  }

  @c @implementation func ks_stack_high_water_size(
    _ handle: CStacksHandle, _ base: UnsafeRawPointer!
  ) -> Int {
    guard let stacks = allocator(handle), let base, isLive(base, stacks) else { return 0 }
    return stacks.pointee.highWaterByteCount(VirtualAddress(UInt(bitPattern: base)))
  }

  /// Whether a stack in use begins at an address.
  private func isLive(_ base: UnsafeRawPointer, _ stacks: UnsafePointer<CStacks>) -> Bool {
    let address = VirtualAddress(UInt(bitPattern: base))
    if stacks.pointee.configuration.strategy == .linear {
      do throws(ThreadStackError) { try checkLinear(address, stacks) } catch { return false }
      return true
    }
    guard case .stack(let bounds) = stacks.pointee.classify(address: address) else { return false }
    return bounds.base == address
  }
#endif
