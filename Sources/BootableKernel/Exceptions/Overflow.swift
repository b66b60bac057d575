// Stack overflow: an access to the guard of a stack, reported on the exception stack.
#if hasFeature(Embedded)
  import CAArch64
  import KernelAssembly
  import KernelStacks
  import Scenarios
  import UserPrograms

  /// Reports a fault that is an overflow, and says what to go on with.
  ///
  /// A process whose kernel side holds nothing at that moment is ended: it goes on at the top of its stack, which is good,
  /// and leaves from there. For any other thread the kernel panics.
  ///
  /// - Returns: `nil` if the fault is no overflow.
  func endOverflow(_ record: ThreadPointer, _ syndrome: ExceptionSyndrome, _ address: UInt) -> ThreadPointer? {
    guard syndrome.exceptionClass == .dataAbort, let bounds = overflowedStack(record, address) else {
      return nil
    }
    reportOverflow(record, bounds, address)
    let isOwn =
      bounds.top.rawValue >= UInt(record.pointee.head.stack_top)
      && bounds.base.rawValue <= record.pointee.stackBase
    guard isOwn else { panic("access to the guard of another task's stack") }
    guard record.pointee.isExpendable, record.pointee.id > 0 else { panic("kernel stack overflow") }
    record.pointee.isExpendable = false
    let end: @convention(c) () -> Void = endOverflowedProcess
    record.pointee.head.frame.sp = record.pointee.head.stack_top - UInt64(FRAME_SIZE)
    record.pointee.head.frame.elr = UInt64(UInt(bitPattern: unsafeBitCast(end, to: Int.self)))
    record.pointee.head.frame.spsr = 0x4  // EL1t, interrupts on
    record.pointee.head.frame.x.29 = 0
    record.pointee.head.frame.x.30 = 0
    return record
  }

  // The boot stack's guard is known by its place in the image, all others by the slot that they are in.
  private func overflowedStack(_ record: ThreadPointer, _ address: UInt) -> StackBounds? {
    if address >= kernel_boot_stack_guard(), address < kernel_boot_stack() {
      return StackBounds(
        base: VirtualAddress(kernel_boot_stack()), top: VirtualAddress(kernel_boot_stack_top()))
    }
    guard KernelObjects.hasProcesses else { return nil }
    if case .stackGuard(let bounds) = KernelObjects.processes.pointee.stacks.classify(
      address: VirtualAddress(address))
    {
      return bounds
    }
    return nil
  }

  private func reportOverflow(_ record: ThreadPointer, _ bounds: StackBounds, _ address: UInt) {
    var console = Console()
    console.write("kernel stack overflow: task ")
    console.write(record.pointee.id)
    console.write("\n  stack       ")
    bounds.write(to: &console)
    console.write("\n  address     ")
    console.write(hex: address)
    console.write(", ")
    console.write(bounds.base - VirtualAddress(address))
    console.write(" bytes below the stack\n  instruction ")
    console.write(hex: UInt(record.pointee.head.frame.elr))
    console.write("\n")
    let frame = UnsafeMutableRawPointer(record).assumingMemoryBound(to: kernel_frame.self)
    // The newest frame record may be what was being pushed: begin at the first that is on the stack.
    writeBacktrace(frame, lowest: bounds.base.rawValue, top: bounds.top.rawValue, to: &console)
    console.write("{\"type\":\"overflow\",\"task\":")
    console.write(record.pointee.id)
    console.write(",\"bytesBelow\":")
    console.write(bounds.base - VirtualAddress(address))
    console.write("}\n")
  }

  /// Where an overflowed process goes on: at the top of its stack.
  @c func endOverflowedProcess() {
    endProcess(status: 0, end: .stackOverflow)
  }
#endif
