// ks_stack_allocate and ks_stack_free: misuse that Swift's ownership rules out at compile time is detected here at run time.
//
// Of two CPUs that free the same address at the same moment, one must find the stack freed already. So the check of the address
// and the free happen under one of several locks, chosen by the address: CPUs that free different stacks rarely share one.
//
// A stack that the CPU has left is freed before anything else, so that its frames and those of the call are never on top of each
// other.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelPageFrames
  import KernelStacksCHeader
  import KernelThreadStacks

  @c @implementation func ks_stack_allocate(
    _ handle: CStacksHandle, _ nodeNumber: Int32, _ error: UnsafeMutablePointer<ks_error>!
  ) -> UnsafeMutableRawPointer! {
    freeLeftStack()
    return allocateStack(handle, nodeNumber, error)
  }

  @inline(never) private func allocateStack(
    _ handle: CStacksHandle, _ nodeNumber: Int32, _ error: UnsafeMutablePointer<ks_error>?
  ) -> UnsafeMutableRawPointer? {
    guard let stacks = allocator(handle) else { return refuseStack(.stacksNotMade, error) }
    var node: NodeID?
    if nodeNumber != KS_ANY_NODE {
      guard nodeNumber >= 0, Int(nodeNumber) < CFrames().nodeCount else {
        return refuseStack(.unknownNode(Int(nodeNumber), count: CFrames().nodeCount), error)
      }
      node = NodeID(Int(nodeNumber))
    }
    do throws(ThreadStackError) {
      return try stacks.pointee.allocate(node: node).detach().pointer
    } catch let refusal { _ = report(refusal, to: error) }
    return nil
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
    freeLeftStack()
    return freeStack(of: handle, at: base, error)
  }

  /// Frees a stack, whatever this CPU has left.
  @inline(never) func freeStack(
    of handle: CStacksHandle, at base: UnsafeMutableRawPointer?, _ error: UnsafeMutablePointer<ks_error>?
  ) -> ks_code {
    guard let stacks = allocator(handle) else {
      return reportMisuse(CInterfaceError.stacksNotMade, to: error)
    }
    let address = VirtualAddress(UInt(bitPattern: base))
    if isStackPointer(within: address.rawValue, byteCount: stacks.pointee.geometry.size) {
      return reportMisuse(CInterfaceError.runningStack(address.rawValue), to: error)
    }
    let lock = ks_free_lock(address.rawValue)
    let interrupts = ks_machine_lock(lock)
    do throws(ThreadStackError) {
      stacks.pointee.free(try liveStack(at: address, stacks))
      ks_machine_unlock(lock, interrupts)
      return KS_OK
    } catch let refusal {
      ks_machine_unlock(lock, interrupts)
      return reportMisuse(refusal, to: error)
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
