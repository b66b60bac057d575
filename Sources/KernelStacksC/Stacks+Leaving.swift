// ks_stack_free_when_left: a thread that ends gives up the stack that it runs on. Its CPU keeps the stack in mind, and frees it
// in the next call that finds the CPU elsewhere.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelStacksCHeader
  import KernelThreadStacks

  @c @implementation func ks_stack_free_when_left(
    _ handle: CStacksHandle, _ base: UnsafeMutableRawPointer!, _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    guard let handle, let stacks = allocator(handle) else {
      return reportMisuse(CInterfaceError.stacksNotMade, to: error)
    }
    freeLeftStack()
    let interrupts = CMachine().disableInterrupts()
    defer { CMachine().restoreInterrupts(interrupts) }
    let address = VirtualAddress(UInt(bitPattern: base))
    let own = leavingStack(ofCPU: CMachine().currentCPU)
    // The caller has not left its stack since it called before.
    if let other = own.pointee.base {
      return reportMisuse(CInterfaceError.runningStack(UInt(bitPattern: other)), to: error)
    }
    do throws(ThreadStackError) {
      _ = try liveStack(at: address, stacks).detach()
    } catch let refusal { return reportMisuse(refusal, to: error) }
    own.pointee = ks_leaving(stacks: handle.pointee, base: base)
    ks_count_leaving(1)
    return KS_OK
  }

  /// Frees the stack that this CPU has left, if there is one.
  @inline(__always) func freeLeftStack() {
    if ks_is_any_leaving() { freeLeftStack(ofCPU: nil) }
  }

  /// Frees the stack that a CPU has left: one that has stopped, or this one, unless it is still on it.
  @inline(never) func freeLeftStack(ofCPU stopped: Int?) {
    let left = takeLeftStack(ofCPU: stopped)
    // What is refused is reported there. An allocator with a stack in use has not ended.
    if left.base != nil { _ = freeStack(ofRecords: left.stacks.opaque, at: left.base, nil) }
  }

  /// Takes the stack that a CPU has left out of its record; none is all zero.
  @inline(never) private func takeLeftStack(ofCPU stopped: Int?) -> ks_leaving {
    let interrupts = CMachine().disableInterrupts()
    let current = CMachine().currentCPU
    let cpu = stopped ?? current
    let place = leavingStack(ofCPU: cpu)
    var left = place.pointee
    if left.base != nil, cpu != current || !isOnStack(&left) {
      place.pointee.base = nil
      ks_count_leaving(-1)
    } else {
      left = ks_leaving()
    }
    CMachine().restoreInterrupts(interrupts)
    return left
  }

  private func isOnStack(_ leaving: UnsafePointer<ks_leaving>) -> Bool {
    let stacks = UnsafeRawPointer(leaving).assumingMemoryBound(to: ks_stacks.self)
    guard let size = allocator(stacks)?.pointee.geometry.size else { return false }
    return isStackPointer(within: UInt(bitPattern: leaving.pointee.base), byteCount: size)
  }

  private func leavingStack(ofCPU cpu: Int) -> UnsafeMutablePointer<ks_leaving> {
    ks_state().pointee.leaving.unsafelyUnwrapped + cpu
  }

  /// Whether the caller runs on a stack; its stack pointer may be at the top.
  @inline(__always) func isStackPointer(within base: UInt, byteCount: Int) -> Bool {
    ks_stack_pointer() &- 1 &- base < UInt(bitPattern: byteCount)
  }
#endif
