// Panic: one CPU prints the state of the machine, stops the others, and leaves with a failing exit code. Any context.
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelStacks
import Synchronization

nonisolated(unsafe) private var panicDepth = 0
nonisolated(unsafe) private var recordIsTrusted = true
// The number + 1 of the CPU that reports the end of the kernel, or 0.
private let reportingCPU = Atomic<UInt64>(0)

/// Prints the state of the machine and ends it.
func panic(_ reason: StaticString) -> Never {
  beginPanic()
  var console = Console()
  console.write("panic: ")
  console.write(reason)
  endPanic(reason, &console)
}

/// Prints the state of the machine and ends it.
func panic(_ reason: StaticString, number: UInt) -> Never {
  beginPanic()
  var console = Console()
  console.write("panic: ")
  console.write(reason)
  console.write(" (")
  console.write(hex: number)
  console.write(")")
  endPanic(reason, &console)
}

/// Makes the current CPU the one that reports the end of the kernel, and stops all others.
///
/// Interrupts are off from here on. It returns on one CPU only, which may call it again.
func beginReport() {
  _ = ca_disable_interrupts()
  let this = AArch64().currentCPU + 1
  let first = reportingCPU.compareExchange(
    expected: 0, desired: UInt64(this), ordering: .acquiringAndReleasing
  ).original
  if first == UInt64(this) { return }
  if first != 0 { stopThisCPU() }
  Console.beginLastWords()
  stopOtherCPUs()
  Console.takeOver()
}

/// Stops the current CPU for good if another one is reporting the end of the kernel.
func yieldToReport() {
  let reporting = reportingCPU.load(ordering: .acquiring)
  if reporting != 0, reporting != ca_cpu_number() + 1 { stopThisCPU() }
}

// A panic inside a panic prints nothing more, since that could fail again; one while exiting has no semihosting.
private func beginPanic() {
  beginReport()
  panicDepth += 1
  if panicDepth == 2 { exitMachine(.panic) }
  if panicDepth > 2 { switchOff() }
}

// A CPU with interrupts off does not take the interrupt: it goes on until it writes a line, or for ever.
private func stopOtherCPUs() {
  guard AArch64().cpuCount > 1 else { return }
  InterprocessorInterrupt.stop.sendToOthers()
  let deadline = ca_read_cntvct_el0() + ca_read_cntfrq_el0()
  while ca_read_cntvct_el0() < deadline {
    var running = 0
    forEachCPU { number, cpu in
      if number != AArch64().currentCPU, cpu.pointee.state == .online { running += 1 }
    }
    if running == 0 { return }
    ca_wait_for_event()
  }
}

/// Stops the current CPU for good, because another one is reporting the end of the kernel.
func stopThisCPU() -> Never {
  _ = ca_disable_interrupts()
  PerCPU.current.pointee.state = .stopped
  ca_send_event()
  stopForEver()
}

/// Lets the current CPU do nothing any more; interrupts are off.
func stopForEver() -> Never {
  // A pending interrupt, though masked, ends WFI at once.
  while true {
    ca_wait_for_interrupt()
    ca_wait_for_event()
  }
}

private func endPanic(_ reason: StaticString, _ console: inout Console) -> Never {
  console.write("\n  task ")
  if recordIsTrusted {
    console.write(Thread.current.pointee.id)
  } else {
    console.write("record ")
    console.write(hex: UInt(ca_read_tpidr_el1()))
  }
  console.write(", CPU ")
  console.write(AArch64().currentCPU)
  console.write(", ticks ")
  console.write(Interrupts.tickCount)
  console.write(", switches ")
  console.write(Scheduler.switchCount)
  console.write("\n")
  write("  TTBR0_EL1 ", ca_read_ttbr0_el1(), to: &console)
  write("  TTBR1_EL1 ", ca_read_ttbr1_el1(), to: &console)
  write("  TCR_EL1   ", ca_read_tcr_el1(), to: &console)
  write("  SCTLR_EL1 ", ca_read_sctlr_el1(), to: &console)
  Console.error("panic", reason)
  exitMachine(.panic)
}

private func write(_ name: StaticString, _ value: UInt64, to console: inout Console) {
  console.write(name)
  console.write(hex: UInt(value))
  console.write("\n")
}

/// Handles an exception of a handler at EL1h: runs on the emergency stack, and ends in a panic.
@c func kernelEmergency(_ frame: UnsafeMutablePointer<kernel_frame>, _ syndrome: UInt64, _ address: UInt) {
  if ExceptionSyndrome(rawValue: syndrome).exceptionClass == .unknown, isSemihostingCall(frame.pointee) {
    switchOff()
  }
  beginReport()
  recordIsTrusted = false
  if panicDepth > 0 { panic("exception while panicking") }
  var console = Console()
  writeException(
    "exception in an exception handler", frame, ExceptionSyndrome(rawValue: syndrome), address, to: &console)
  if !isOnExceptionStack(UInt(frame.pointee.sp)) {
    panic("the exception stack pointer is not on the CPU's exception stack")
  }
  // Addresses and registers may have any value: sums wrap, since a trap on overflow would be the next exception.
  if isOnExceptionStack(address &+ UInt(pageSize)), !isOnExceptionStack(address) {
    panic("exception stack overflow")
  }
  panic("exception in an exception handler")
}

// Until there is an exception stack, handlers run on the emergency stack.
private func isOnExceptionStack(_ address: UInt) -> Bool {
  let top = UInt(PerCPU.current.pointee.start.exception_stack_top)
  return top == 0 || top &- address <= UInt(4 * pageSize)
}

/// Prints an exception: its kind and place, the registers, and a backtrace.
func reportException(
  _ title: StaticString, _ record: ThreadPointer, _ syndrome: ExceptionSyndrome, _ address: UInt
) {
  var console = Console()
  let frame = UnsafeMutableRawPointer(record).assumingMemoryBound(to: kernel_frame.self)
  writeException(title, frame, syndrome, address, to: &console)
  writeBacktrace(
    frame, lowest: record.pointee.stackBase, top: UInt(record.pointee.head.stack_top), to: &console)
}

private func writeException(
  _ title: StaticString, _ frame: UnsafeMutablePointer<kernel_frame>, _ syndrome: ExceptionSyndrome,
  _ address: UInt,
  to console: inout Console
) {
  console.write(title)
  console.write(": ")
  console.write(syndrome.exceptionClass?.name ?? "unknown class")
  console.write("\n")
  write("  syndrome    ", syndrome.rawValue, to: &console)
  write("  address     ", UInt64(address), to: &console)
  write("  instruction ", frame.pointee.elr, to: &console)
  write("  SPSR        ", frame.pointee.spsr, to: &console)
  write("  SP          ", frame.pointee.sp, to: &console)
  let registers = UnsafeMutableRawPointer(frame).assumingMemoryBound(to: UInt64.self)
  for number in 0..<31 {
    console.write(number % 4 == 0 ? "  x" : " x")
    console.write(number)
    console.write("=")
    console.write(hex: UInt(registers[number]))
    if number % 4 == 3 || number == 30 { console.write("\n") }
  }
}

/// Prints the chain of frame records while it stays on the stack and goes upwards, at most 32.
///
///     x29 -> +------------------+
///            | caller's x29     |
///            | return address   |
///            +------------------+
func writeBacktrace(
  _ frame: UnsafeMutablePointer<kernel_frame>, lowest: UInt, top: UInt, to console: inout Console
) {
  console.write("  backtrace:\n")
  write("    ", frame.pointee.elr, to: &console)
  var next = UInt(frame.pointee.x.29)
  for depth in 0..<32 {
    guard next >= lowest, next <= top, top - next >= 16, next % 8 == 0,
      let pair = UnsafePointer<UInt>(bitPattern: next)
    else { return }
    if depth == 0, UInt(frame.pointee.x.30) != pair[1] {
      // The function has no frame record yet: its return address is still in x30.
      write("    ", frame.pointee.x.30, to: &console)
    }
    write("    ", UInt64(pair[1]), to: &console)
    guard pair[0] > next else { return }
    next = pair[0]
  }
  console.write("    ...\n")
}
