// The handlers that the vectors call at EL1h, with interrupts off: interrupts, and exceptions of thread code.
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelStacks

// Replaced at boot, before the first interrupt.
nonisolated(unsafe) private var controller = BoardInterrupts.bcm2836(BCM2836Interrupts(base: 0))
nonisolated(unsafe) private var timer: TickTimer?

/// The interrupt controller, the timer tick and their counters.
enum Interrupts {
  /// The number of ticks of the first CPU: the kernel's clock.
  static var tickCount: Int { PerCPU.at(0).pointee.ticks }
  /// The number of ticks that preempted code at EL0.
  static var userPreemptionCount: Int { sum { $0.pointee.userPreemptions } }
  /// The number of ticks that preempted a kernel thread.
  static var threadPreemptionCount: Int { sum { $0.pointee.threadPreemptions } }
  /// The number of ticks that preempted a process's system call.
  static var systemCallPreemptionCount: Int { sum { $0.pointee.systemCallPreemptions } }

  private static func sum(_ counter: (CPUPointer) -> Int) -> Int {
    var result = 0
    forEachCPU { _, cpu in result &+= counter(cpu) }
    return result
  }

  /// The interrupt controller.
  static var device: BoardInterrupts { controller }

  /// Ticks of a CPU per second; the default before ``start(_:timer:)``.
  static var ticksPerSecond: Int { timer?.frequency ?? TickTimer.defaultFrequency }

  /// Starts the interrupt controller, and the tick on the boot CPU.
  ///
  /// Interrupts may still be off.
  static func start(_ device: BoardInterrupts, timer tick: TickTimer) {
    controller = device
    timer = tick
    controller.start()
    startThisCPU()
  }

  /// Starts interrupts and the tick on the current CPU.
  ///
  /// Interrupts are off.
  static func startThisCPU() {
    guard let target = controller.startThisCPU() else {
      fail("the interrupt controller does not know a CPU that the device tree describes")
    }
    PerCPU.current.pointee.interruptTarget = target
    guard let timer else { return }
    controller.enablePrivate(timer.interrupt)
    timer.arm()
  }

  /// Stops the tick and all other interrupts on the current CPU.
  ///
  /// Interrupts are off.
  static func stopThisCPU() {
    timer?.stop()
    controller.stopThisCPU()
  }
}

/// Handles an interrupt taken from EL0 or EL1t.
///
/// - Returns: the record of the task to continue.
@c func kernelInterrupt(_ current: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
  let record = current.assumingMemoryBound(to: Thread.self)
  if record.pointee.wasInKernel, !record.pointee.hasOwnStackPointer {
    // The interrupt stays pending, and is taken again where the task continues, if it does.
    return UnsafeMutableRawPointer(resolveStackPointer(record, .interrupt))
  }
  let acknowledged = controller.acknowledge()
  // Without it, later loads could be performed before that of the controller's register, and miss the sender's stores.
  ca_dmb_ishld()
  let interrupt = acknowledged & 0x3ff
  if interrupt == noInterrupt { return current }
  let cpu = PerCPU.current
  if let timer, interrupt == timer.interrupt {
    timer.arm()
    cpu.pointee.countTick()
    // The instruction counter has 32 bits, and is extended at each reading.
    _ = AArch64().instructionCount
    controller.finish(acknowledged)
    serveFreedStacks(tick: cpu.pointee.ticks)
  } else {
    guard let request = InterprocessorInterrupt(rawValue: interrupt) else {
      panic("an interrupt that was not enabled", number: UInt(interrupt))
    }
    controller.finish(acknowledged)
    cpu.pointee.interprocessorInterrupts &+= 1
    switch request {
    case .reschedule: break
    case .stop: stopThisCPU()
    case .call:
      answerCall()
      return current
    }
  }
  // Read first: once the scheduler has released the record, it may run on another CPU, or be freed.
  let (level, id) = (record.pointee.head.frame.spsr & 0xf, record.pointee.id)
  let next = Scheduler.next(after: record)
  if next != record, record != Thread.idle {
    if level == 0 {
      cpu.pointee.userPreemptions &+= 1
    } else if id > 0 {
      cpu.pointee.systemCallPreemptions &+= 1
    } else {
      cpu.pointee.threadPreemptions &+= 1
    }
  }
  return UnsafeMutableRawPointer(next)
}

/// Handles a synchronous exception of thread code.
///
/// - Returns: the record of the task to continue.
@c func kernelException(
  _ current: UnsafeMutableRawPointer, _ syndrome: UInt64, _ address: UInt
) -> UnsafeMutableRawPointer {
  let record = current.assumingMemoryBound(to: Thread.self)
  let syndrome = ExceptionSyndrome(rawValue: syndrome)
  if !record.pointee.hasOwnStackPointer || syndrome.exceptionClass == .stackAlignment {
    // The stack pointer leaves a stack that ends in thread_info before an access hits the guard.
    if let successor = endOwnOverflow(record, syndrome, address) { return UnsafeMutableRawPointer(successor) }
    return UnsafeMutableRawPointer(resolveStackPointer(record, .exception))
  }
  if syndrome.exceptionClass == .supervisorCall {
    if syndrome.immediate == UInt16(KERNEL_SVC_ENSURE) {
      ensureStack(record)
      return current
    }
    return UnsafeMutableRawPointer(Scheduler.next(after: record))
  }
  if isOver(syndrome, address) || recoverProbe(record, syndrome) { return current }
  if syndrome.exceptionClass == .unknown, isSemihostingCall(record.pointee.head.frame) { switchOff() }
  checkReserve(record, syndrome, address)
  if let successor = endOverflow(record, syndrome, address) { return UnsafeMutableRawPointer(successor) }
  beginReport()
  reportException("exception in the kernel", record, syndrome, address)
  panic("unhandled exception of thread code")
}

// A translation fault may be of a walk older than the entry, which another CPU has made valid since, in the vmalloc area for
// example: then the access is to be repeated (see ``StackGrowth/grown``).
private func isOver(_ syndrome: ExceptionSyndrome, _ address: UInt) -> Bool {
  syndrome.isAbort && syndrome.isTranslationFault && ca_is_translated(address) != 0
}

// Without a debugger or emulator to take it, the semihosting call is an undefined instruction: `hlt #0xf000`.
func isSemihostingCall(_ frame: borrowing kernel_frame) -> Bool { ca_load32(UInt(frame.elr)) == 0xd45e_0000 }

/// Handles an FIQ or SError, which is never expected: a report, then panic.
@c func kernelUnexpected(_ current: UnsafeMutableRawPointer, _ syndrome: UInt64, _ address: UInt) {
  let record = current.assumingMemoryBound(to: Thread.self)
  beginReport()
  reportException("FIQ or SError", record, ExceptionSyndrome(rawValue: syndrome), address)
  panic("unexpected exception")
}

// A probe is an access that may fault: it then returns the syndrome in x0. See vectors.S.
private func recoverProbe(_ record: ThreadPointer, _ syndrome: ExceptionSyndrome) -> Bool {
  let probes = UInt64(kernel_probe_begin())..<UInt64(kernel_probe_end())
  let culprit =
    syndrome.exceptionClass == .instructionAbort
    ? record.pointee.head.frame.x.30 : record.pointee.head.frame.elr
  guard syndrome.isAbort || syndrome.exceptionClass == .unknown, probes.contains(culprit) else {
    return false
  }
  record.pointee.head.frame.x.0 = syndrome.rawValue
  record.pointee.head.frame.elr = UInt64(kernel_probe_recover())
  return true
}
