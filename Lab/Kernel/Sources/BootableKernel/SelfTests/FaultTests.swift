// Self-tests of overflows and corrupted stack pointers: which end the task, which end the kernel, and what is reported.
import AArch64Machine
import ByteText
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios
import Synchronization

// Static records of threads whose stacks are never freed.
nonisolated(unsafe) private var victim = Thread()
nonisolated(unsafe) private var bystander = Thread()
nonisolated(unsafe) private var bystanderRounds = 0
nonisolated(unsafe) private var bystanderIsIntact = true
private let isOver = Atomic<UInt64>(0)
nonisolated(unsafe) private var badStackPointer: UInt = 0
nonisolated(unsafe) private var place: Place?
nonisolated(unsafe) private var moment: Moment?

/// The event at which a corrupted stack pointer is to be found.
private enum Moment: UInt64 {
  case call = 0
  case interrupt = 1
  case access = 2
  case switchIn = 3

  init?(named name: UnsafeRawBufferPointer) {
    switch name {
    case "call": self = .call
    case "interrupt": self = .interrupt
    case "access": self = .access
    case "switch": self = .switchIn
    default: return nil
    }
  }
}

/// The place that a corrupted stack pointer points to.
private enum Place {
  case null
  case unaligned
  case ownGuard
  case above
  case otherSlot
  case otherGuard
  case unusedSlot
  case bootStack
  case outside
  case exhausted

  init?(named name: UnsafeRawBufferPointer) {
    switch name {
    case "null": self = .null
    case "unaligned": self = .unaligned
    case "own-guard": self = .ownGuard
    case "above": self = .above
    case "other-slot": self = .otherSlot
    case "other-guard": self = .otherGuard
    case "unused-slot": self = .unusedSlot
    case "boot-stack": self = .bootStack
    case "outside": self = .outside
    case "exhausted": self = .exhausted
    default: return nil
    }
  }
}

/// Removes `value=PLACE` and `at=MOMENT`, the arguments of stack-pointer tests, from the command line and stores them.
func readFaultTestArguments() {
  place = CommandLine.value(of: "value").flatMap { Place(named: $0) }
  moment = CommandLine.value(of: "at").flatMap { Moment(named: $0) }
  CommandLine.remove("value")
  CommandLine.remove("at")
}

private func startVictim(_ body: @convention(c) (UInt) -> Void) {
  withUnsafeMutablePointer(to: &victim) { startThread($0, id: -2, body: body, argument: 0) }
}

// Uses all of its stack over and over, and must always find its own words.
private func startBystander() {
  withUnsafeMutablePointer(to: &bystander) {
    startThread(
      $0, id: -3,
      body: { _ in
        while isOver.load(ordering: .acquiring) == 0 {
          if !proveStack(downTo: Thread.current.pointee.stackBase, owner: 3) { bystanderIsIntact = false }
          bystanderRounds += 1
        }
      }, argument: 0)
  }
}

// The boot task, which runs this, may be the only task left: it must not wait for ever.
private func awaitVictim() -> Bool {
  let end = Interrupts.tickCount + 500
  while Interrupts.tickCount < end {
    if withUnsafePointer(to: &victim, { $0.pointee.scheduled.state == .dead }) { return true }
    Scheduler.yield()
  }
  return false
}

// After the victim's end, the bystander must go on undisturbed.
private func checkBystander() -> Bool {
  let before = bystanderRounds
  let end = Interrupts.tickCount + 20
  while Interrupts.tickCount < end { Scheduler.yield() }
  isOver.store(1, ordering: .releasing)
  for _ in 0..<100 { Scheduler.yield() }
  return check(
    "another thread went on and found its stack as it left it", bystanderIsIntact && bystanderRounds > before)
}

func testGuardOfThread() -> Bool {
  startBystander()
  startVictim { _ in overflow_stack() }
  let died = check("the thread that has overflowed its stack has ended", awaitVictim())
  return checkBystander() && died
}

// A lock is held with interrupts off: another task could wait for it for ever.
func testOverflowWithLock() -> Never {
  startBystander()
  startVictim { _ in
    var lock = SpinLock()
    withUnsafeMutablePointer(to: &lock) {
      _ = AArch64().lock($0)
      overflow_stack()
    }
  }
  while true { Scheduler.yield() }
}

func testOverflowInAllocator() -> Never {
  startBystander()
  startVictim { _ in inAllocatorSection { overflow_stack() } }
  while true { Scheduler.yield() }
}

// Goes a few words too far and comes back. Only the stack's own end marker and thread_info are damaged.
func testLateOverflow() -> Never {
  startBystander()
  startVictim { _ in
    _ = prove_stack(Thread.current.pointee.stackBase - 16, 2)
    Scheduler.yield()
  }
  while true { Scheduler.yield() }
}

// MARK: Stack pointers

func testStackPointer() -> Bool {
  guard let place, let moment else {
    fail("test=stack-pointer needs value=PLACE and at=call, interrupt, access or switch")
  }
  startBystander()
  // Linear stacks lie side by side: a stack pointer just below its own stack counts as an overflow.
  for _ in 0..<3 { _ = KernelObjects.allocateStack() }
  startVictim { _ in
    if BootableKernel.moment == .switchIn {
      _ = ca_disable_interrupts()
      while true { Scheduler.wait() }
    }
    load_stack_pointer(badStackPointer, BootableKernel.moment?.rawValue ?? 0)
  }
  badStackPointer = stackPointer(at: place)
  if moment == .switchIn {
    while withUnsafePointer(to: &victim, { $0.pointee.scheduled.state != .waiting }) { Scheduler.yield() }
    withUnsafeMutablePointer(to: &victim) {
      $0.pointee.head.frame.sp = UInt64(badStackPointer)
      let state = ca_disable_interrupts()
      Scheduler.wake($0)
      ca_restore_interrupts(state)
    }
  }
  let died = check("the thread whose stack pointer was in its guard has ended", awaitVictim())
  return checkBystander() && died
}

private func stackPointer(at place: Place) -> UInt {
  switch place {
  case .null: return 0
  case .unaligned: return victim.stackBase + 0x808
  case .ownGuard: return victim.stackBase - 0x100
  case .above: return UInt(victim.head.stack_top) + 16
  case .otherSlot: return bystander.stackBase + 0x1000
  case .otherGuard: return bystander.stackBase & ~0xfff - 0x100
  case .bootStack: return kernel_boot_stack_top() - 0x1000
  case .outside, .exhausted: return kernel_image_start() + 0x100
  case .unusedSlot:
    do {
      let stack = try KernelObjects.stacks.pointee.allocate(node: nil)
      let top = stack.top.rawValue
      KernelObjects.stacks.pointee.free(stack)
      return top - 0x100
    } catch {
      fail("stack", error)
    }
  }
}

// Emulators do not raise the exception: the handler is called as the vector calls it.
func testAlignmentFault() -> Never {
  _ = ca_disable_interrupts()
  let record = Thread.current
  record.pointee.head.frame.sp = UInt64(kernel_boot_stack_top() - 0x808)
  record.pointee.head.frame.spsr = 0x4
  let syndrome = UInt64(ExceptionClass.stackAlignment.rawValue) << 26
  _ = kernelException(UnsafeMutableRawPointer(record), syndrome, 0)
  BootableKernel.panic("an unaligned stack pointer was accepted")
}

/// Makes the exception stack unusable: the vectors fall back to the emergency stack.
func testExceptionStack() -> Never {
  _ = ca_disable_interrupts()
  if place == .exhausted {
    // Its lowest address: below it is the guard of the area before.
    use_exception_stack(UInt(PerCPU.current.pointee.start.exception_stack_top) - UInt(4 * pageSize))
  } else {
    use_exception_stack(0xdead_0000)
  }
  kernel_enter_scheduler()
  BootableKernel.panic("the exception stack was usable")
}
