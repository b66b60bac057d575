// Stacks that grow: the fault, the check at each switch, and shrinking.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelStacksCHeader
  import KernelThreadStacks

  @c @implementation func ks_stack_fault(
    _ handle: CStacksHandle, _ address: UInt, _ base: UnsafeRawPointer!
  ) -> ks_growth {
    guard let stacks = allocator(handle), let base, ks_state().pointee.lends_pages == 0 else {
      return KS_NOT_GROWTH
    }
    let growth = stacks.pointee.grower.grow(
      at: VirtualAddress(address), runningOn: VirtualAddress(UInt(bitPattern: base)))
    switch growth {
    case .grown: return KS_GROWN
    case .notGrowth: return KS_NOT_GROWTH
    case .reserveTooSmall: return KS_RESERVE_TOO_SMALL
    }
  }

  @c @implementation func ks_stack_prepare_to_run(
    _ handle: CStacksHandle, _ base: UnsafeRawPointer!, _ mayTakeFrames: Bool
  ) -> Bool {
    freeLeftStack()
    guard let stacks = allocator(handle) else { return false }
    return stacks.pointee.prepareToRun(
      VirtualAddress(UInt(bitPattern: base)), mayTakeFrames: mayTakeFrames)
  }

  @c @implementation func ks_stack_lend(
    _ handle: CStacksHandle, _ base: UnsafeRawPointer!, _ mayTakeFrames: Bool
  ) -> Bool {
    freeLeftStack()
    guard let stacks = allocator(handle) else { return false }
    let base = VirtualAddress(UInt(bitPattern: base))
    guard stacks.pointee.prepareToRun(base, mayTakeFrames: mayTakeFrames) else { return false }
    if CMachine().updatesAccessFlags { stacks.pointee.lender.lend(to: base) }
    return true
  }

  @c @implementation func ks_stacks_take_back(_ handle: CStacksHandle) {
    guard let stacks = allocator(handle), CMachine().updatesAccessFlags else { return }
    stacks.pointee.lender.takeBack()
  }

  @c @implementation func ks_stack_ensure(
    _ handle: CStacksHandle, _ size: Int, _ stackPointer: UInt, _ base: UnsafeRawPointer!,
    _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    guard let stacks = allocator(handle) else { return report(CInterfaceError.stacksNotMade, to: error) }
    do throws(ThreadStackError) {
      try stacks.pointee.grower.ensure(
        bytes: size, below: VirtualAddress(stackPointer), runningOn: VirtualAddress(UInt(bitPattern: base)))
      return KS_OK
    } catch let refusal { return report(refusal, to: error) }
  }

  @c @implementation func ks_stack_populate(
    _ handle: CStacksHandle, _ base: UnsafeMutableRawPointer!, _ size: Int,
    _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    guard let stacks = allocator(handle) else { return report(CInterfaceError.stacksNotMade, to: error) }
    do throws(ThreadStackError) {
      let stack = try stacks.pointee.stack(at: VirtualAddress(UInt(bitPattern: base)))
      do throws(ThreadStackError) {
        try stacks.pointee.populate(stack, bytes: size)
      } catch let refusal {
        _ = stack.detach()
        throw refusal
      }
      _ = stack.detach()
      return KS_OK
    } catch let refusal { return report(refusal, to: error) }
  }

  @c @implementation func ks_stacks_note_waiting_threads(_ handle: CStacksHandle, _ count: Int) {
    allocator(handle)?.pointee.noteRefillWaiters(count)
  }

  @c @implementation func ks_stack_missing_pages(
    _ handle: CStacksHandle, _ base: UnsafeRawPointer!
  ) -> Int {
    allocator(handle)?.pointee.missingPageCount(VirtualAddress(UInt(bitPattern: base))) ?? 0
  }

  @c @implementation func ks_stacks_release_reserve(_ handle: CStacksHandle) -> Int {
    allocator(handle)?.pointee.releaseReserve() ?? 0
  }

  @c @implementation func ks_stacks_fill_reserve(_ handle: CStacksHandle) {
    allocator(handle)?.pointee.fillReserve()
  }

  @c @implementation func ks_stacks_fill_pool(_ handle: CStacksHandle) -> Bool {
    allocator(handle)?.pointee.fillRefillPool() ?? false
  }

  // MARK: Shrinking

  /// Works on a C kernel's batch, which is empty if it is all zero.
  ///
  /// Why the cast is sound: a batch is three words without references; `opaque` has the size and alignment for them.
  private func withBatch<Result>(
    _ batch: UnsafeMutablePointer<ks_shrink_batch>, _ body: (inout ShrinkBatch) -> Result
  ) -> Result {
    let memory = UnsafeMutableRawPointer(batch).assumingMemoryBound(to: ShrinkBatch.self)
    if memory.pointee.isEmpty { memory.pointee = ShrinkBatch() }
    return body(&memory.pointee)
  }

  @c @implementation func ks_stack_retire_dead_pages(
    _ handle: CStacksHandle, _ base: UnsafeMutableRawPointer!, _ stackPointer: UInt,
    _ batch: UnsafeMutablePointer<ks_shrink_batch>!
  ) -> Int {
    guard let stacks = allocator(handle), let batch else { return 0 }
    return withBatch(batch) { batch in
      stacks.pointee.retireDeadPages(
        of: VirtualAddress(UInt(bitPattern: base)), below: VirtualAddress(stackPointer), into: &batch)
    }
  }

  @c @implementation func ks_shrink_complete(
    _ handle: CStacksHandle, _ batch: UnsafeMutablePointer<ks_shrink_batch>!
  ) {
    guard let stacks = allocator(handle), let batch else { return }
    withBatch(batch) { batch in stacks.pointee.completeInvalidation(of: &batch) }
  }

  @c @implementation func ks_stack_release_retired_pages(
    _ handle: CStacksHandle, _ base: UnsafeMutableRawPointer!
  ) -> Int {
    allocator(handle)?.pointee.releaseRetiredPages(of: VirtualAddress(UInt(bitPattern: base))) ?? 0
  }

  @c @implementation func ks_stack_restore_retired_pages(
    _ handle: CStacksHandle, _ base: UnsafeMutableRawPointer!
  ) -> Int {
    allocator(handle)?.pointee.restoreRetiredPages(of: VirtualAddress(UInt(bitPattern: base))) ?? 0
  }
#endif
