// Self-tests of several CPUs: per-CPU state, locks, threads that move, wake-ups, and a panic beside running CPUs.
import AArch64Machine
import CAArch64
import DeviceTree
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios
import Synchronization

// The answer of each CPU about itself: a bit for each item that is right.
nonisolated(unsafe) private var answers = InlineArray<64, Int>(repeating: 0)

private func answer() {
  let number = AArch64().currentCPU
  let cpu = KernelObjects.board.pointee.cpus[number]
  var bits = 0
  if ca_read_mpidr_el1() & Board.affinityMask == cpu.affinity { bits |= 1 }
  if AArch64().currentNode == NodeID(Int(cpu.node)) { bits |= 2 }
  let top = UInt(PerCPU.at(number).pointee.start.exception_stack_top)
  let sp = UInt(ca_stack_pointer())
  // The boot CPU makes no call to itself.
  if sp < top, sp >= top - 16384 { bits |= 4 }
  if Thread.current == Thread.idle || Thread.current.pointee.id != -1 { bits |= 8 }
  if ca_read_ttbr1_el1() & 0xffff_ffff_fffe == UInt64(AArch64().kernelRoot.rawValue) { bits |= 16 }
  if hasEventStream { bits |= 32 }
  answers[number] = bits
}

// Whether the event stream has at least ten events per second: its interval is that of a counter bit (EVNTI, EVNTEN).
private var hasEventStream: Bool {
  let control = ca_read_cntkctl_el1()
  let interval: UInt64 = 2 << (control >> 4 & 15)
  return control & 4 != 0 && 10 * interval <= ca_read_cntfrq_el0()
}

private func isUnmapped(_ address: UInt) -> Bool {
  ExceptionSyndrome(rawValue: probe_load(address)).isTranslationFault
}

/// Checks that all CPUs of the device tree run, each with its own number, node, stacks and tick.
func testCPUs() -> Bool {
  let count = AArch64().cpuCount
  var passed = check("all CPUs of the device tree are counted", count == KernelObjects.board.pointee.cpuCount)
  var isOnline = true
  forEachCPU { _, cpu in isOnline = isOnline && cpu.pointee.state == .online }
  passed = check("all CPUs are online", isOnline) && passed
  var areRight = true
  for number in 1..<max(count, 1) {
    callOnCPU(number, { _ in answer() }, 0)
    areRight = areRight && answers[number] == 63
  }
  passed = check("each CPU has its own affinity, node, exception stack and current task", areRight) && passed
  passed = check("no wait for an event is without an end", areRight && hasEventStream) && passed
  var areApart = true
  for number in 2..<max(count, 2) {
    for other in 1..<number {
      let (one, two) = (PerCPU.at(number).pointee.start, PerCPU.at(other).pointee.start)
      areApart = areApart && one.exception_stack_top != two.exception_stack_top && one.task != two.task
    }
  }
  passed = check("no two CPUs share an exception stack or an idle thread", areApart) && passed
  callOnOtherCPUs({ _ in answers[AArch64().currentCPU] = 64 }, 0)
  var allCalled = true
  for number in 1..<max(count, 1) { allCalled = allCalled && answers[number] == 64 }
  passed = check("all other CPUs are called at once", allCalled) && passed
  // There is a guard below each CPU's stacks.
  var haveGuards = true
  for number in 1..<max(count, 1) {
    let tops = UnsafeMutablePointer<UInt64>(bitPattern: kernel_emergency_stack_tops()).unsafelyUnwrapped
    let exceptions = UInt(PerCPU.at(number).pointee.start.exception_stack_top)
    haveGuards =
      haveGuards && isUnmapped(exceptions - 16384 - 8) && isUnmapped(UInt(tops[number]) - 8192 - 8)
  }
  passed = check("a guard lies below each exception stack and each emergency stack", haveGuards) && passed
  // Where CPUs run at the same time, one may have many ticks before another has any. A CPU without a tick makes the test
  // hang.
  forEachCPU { _, cpu in
    while cpu.pointee.ticks <= 10 { ca_wait_for_interrupt() }
  }
  return check("every CPU has its tick", true) && passed
}

// MARK: Locks

private var stormLock: UnsafeMutablePointer<SpinLock> {
  UnsafeMutablePointer(bitPattern: kernel_self_test_lock()).unsafelyUnwrapped
}
nonisolated(unsafe) private var stormCount = 0
nonisolated(unsafe) private var stormHolder = 0
nonisolated(unsafe) private var stormTrespasses = 0
private let stormStarted = Atomic<UInt64>(0)
private let exactCounts = Atomic<UInt64>(0)

// Takes the lock again and again and checks that no other CPU is inside. Interrupts are off, so that the CPU takes no other
// lock.
private func storm(_ rounds: UInt) {
  let machine = AArch64()
  stormStarted.wrappingAdd(1, ordering: .acquiringAndReleasing)
  while stormStarted.load(ordering: .acquiring) < UInt64(machine.cpuCount) { ca_wait_for_event() }
  let before = machine.lockAcquisitionsOfThisCPU
  for _ in 0..<rounds {
    let state = machine.lock(stormLock)
    if stormHolder != 0 { stormTrespasses += 1 }
    stormHolder = machine.currentCPU + 1
    stormCount += 1
    if stormHolder != machine.currentCPU + 1 { stormTrespasses += 1 }
    stormHolder = 0
    machine.unlock(stormLock, restoring: state)
  }
  if machine.lockAcquisitionsOfThisCPU - before == UInt64(rounds) {
    exactCounts.wrappingAdd(1, ordering: .acquiringAndReleasing)
  }
}

nonisolated(unsafe) private var stormRounds: UInt = 0

/// Checks that the lock excludes CPUs that take it at the same time, and that each CPU counts its acquisitions.
func testLockStorm() -> Bool {
  let machine = AArch64()
  let rounds: UInt = 20000
  stormRounds = rounds
  beginCallOnOtherCPUs({ _ in storm(stormRounds) }, 0)
  let state = ca_disable_interrupts()
  storm(rounds)
  ca_restore_interrupts(state)
  endCall()
  let expected = Int(rounds) * machine.cpuCount
  var passed = check("no CPU was let in while another held the lock", stormTrespasses == 0)
  passed = check("every turn was counted", stormCount == expected) && passed
  passed = check("the lock is free at the end", stormLock.pointee.word == 0) && passed
  return check(
    "every CPU counted its turns", exactCounts.load(ordering: .relaxed) == UInt64(machine.cpuCount)) && passed
}

// MARK: Threads

private let seenCPUs = Atomic<UInt64>(0)
private let begunThreads = Atomic<UInt64>(0)
private let travellers = Atomic<UInt64>(0)
private let rightThreads = Atomic<UInt64>(0)

private func noteThisCPU() -> UInt64 {
  let bit: UInt64 = 1 << ca_cpu_number()
  seenCPUs.bitwiseOr(bit, ordering: .acquiringAndReleasing)
  return bit
}

/// Whether threads have run on every CPU, and with several CPUs at least one has run on two.
///
/// The time it takes depends on how many CPUs run at the same time. A CPU that gets no thread makes the test hang.
private var haveTravelled: Bool {
  let count = UInt64(AArch64().cpuCount)
  return seenCPUs.load(ordering: .acquiring) == firstCPUs(Int(count))
    && (count == 1 || travellers.load(ordering: .acquiring) > 0)
}

// Computes while it is preempted and moved at any instruction, with words on its stack that no other thread may change.
private func travel(_ seed: UInt) {
  // Before it can be moved: a thread that moved without this note would not count as moved, and no CPU idles to take another.
  var seen = noteThisCPU()
  begunThreads.wrappingAdd(1, ordering: .acquiringAndReleasing)
  var words = InlineArray<64, UInt64>(repeating: 0)
  var value = seed | 1
  var count = 0
  let isRight = withUnsafeMutablePointer(to: &words) { pointer in
    let address = UInt(bitPattern: pointer)
    for index in 0..<64 { ca_store(address + UInt(index) * 8, UInt64(seed &* UInt(index + 1))) }
    while count < 1 << 19 || !haveTravelled {
      value = value &* 6_364_136_223_846_793_005 &+ seed
      count += 1
      if count % 1024 == 0 {
        let hadMoved = seen.nonzeroBitCount > 1
        seen |= noteThisCPU()
        if !hadMoved, seen.nonzeroBitCount > 1 { travellers.wrappingAdd(1, ordering: .acquiringAndReleasing) }
        Scheduler.yield()
      }
    }
    for index in 0..<64 where ca_load(address + UInt(index) * 8) != UInt64(seed &* UInt(index + 1)) {
      return false
    }
    var expected = seed | 1
    for _ in 0..<count { expected = expected &* 6_364_136_223_846_793_005 &+ seed }
    return expected == value
  }
  if isRight { rightThreads.wrappingAdd(1, ordering: .acquiringAndReleasing) }
}

/// Makes `count` threads that run `body`, and makes them ready.
func startThreads(_ count: Int, _ body: @convention(c) (UInt) -> Void) {
  let processes = KernelObjects.processes
  processes.pointee.beginThreads(.rest, seed: 1)
  for _ in 0..<count {
    do {
      prepareKernelThread(try processes.pointee.makeThread(), body: body)
    } catch {
      fail("thread", error)
    }
  }
  processes.pointee.visitThreads()
  while processes.pointee.wakeNext(where: { _ in true }, resume: { wakeKernelThread($0) }) {}
}

/// Waits until all threads have ended.
func awaitThreads() {
  let processes = KernelObjects.processes
  let state = ca_disable_interrupts()
  while processes.pointee.threadFigures.live > 0 { Scheduler.wait() }
  ca_restore_interrupts(state)
}

private let othersMayRun = Atomic<UInt64>(0)
private let busyCPUs = Atomic<UInt64>(0)

/// Checks that three threads for each CPU run everywhere, move, and keep their registers and stacks.
///
/// They begin on the first CPU while all others are kept busy in a handler, and are then free to take threads from it.
func testThreadsOnCPUs() -> Bool {
  let count = AArch64().cpuCount
  KernelObjects.processes.pointee.settle()
  let free = KernelObjects.frames.pointee.freeFrames
  beginCallOnOtherCPUs(
    { _ in
      busyCPUs.wrappingAdd(1, ordering: .acquiringAndReleasing)
      while othersMayRun.load(ordering: .acquiring) == 0 { ca_wait_for_event() }
    }, 0)
  // A CPU that came later could take this very thread.
  while busyCPUs.load(ordering: .acquiring) < UInt64(count - 1) { ca_wait_for_event() }
  startThreads(3 * count, { travel($0) })
  while begunThreads.load(ordering: .acquiring) < 3 * UInt64(count) { Scheduler.yield() }
  othersMayRun.store(1, ordering: .releasing)
  endCall()
  awaitThreads()
  KernelObjects.processes.pointee.settle()
  var passed = check("threads ran on every CPU", seenCPUs.load(ordering: .relaxed) == firstCPUs(count))
  passed =
    check("threads moved from CPU to CPU", count == 1 || travellers.load(ordering: .relaxed) > 0) && passed
  passed =
    check(
      "every thread kept its registers and its stack",
      rightThreads.load(ordering: .relaxed) == 3 * UInt64(count)) && passed
  return check("no frame was lost", KernelObjects.frames.pointee.freeFrames == free)
    && passed
}

private let turn = Atomic<UInt64>(0)
private let firstPartner = Atomic<UInt64>(0)
private let secondPartner = Atomic<UInt64>(0)
private let finishedPartners = Atomic<UInt64>(0)
private let rallies: UInt64 = 2000

// Two threads take turns: each wakes the other and waits for it.
private func rally() {
  let this = UInt64(UInt(bitPattern: Thread.current))
  let isFirst =
    firstPartner.compareExchange(expected: 0, desired: this, ordering: .acquiringAndReleasing).original == 0
  if !isFirst { secondPartner.store(this, ordering: .releasing) }
  while secondPartner.load(ordering: .acquiring) == 0 { Scheduler.yield() }
  let other = isFirst ? secondPartner.load(ordering: .acquiring) : firstPartner.load(ordering: .acquiring)
  let parity: UInt64 = isFirst ? 0 : 1
  while true {
    let state = ca_disable_interrupts()
    var now = turn.load(ordering: .acquiring)
    while now < rallies, now & 1 != parity {
      Scheduler.wait()
      now = turn.load(ordering: .acquiring)
    }
    if now < rallies {
      turn.store(now + 1, ordering: .releasing)
      if let partner = ThreadPointer(bitPattern: UInt(other)) { Scheduler.wake(partner) }
    }
    ca_restore_interrupts(state)
    if now >= rallies { break }
  }
  // Neither ends before the other has finished with its record.
  finishedPartners.wrappingAdd(1, ordering: .acquiringAndReleasing)
  while finishedPartners.load(ordering: .acquiring) < 2 { Scheduler.yield() }
}

/// Checks that two threads that wake each other, across CPUs where there are several, lose no wake-up.
func testWakeUps() -> Bool {
  startThreads(2, { _ in rally() })
  awaitThreads()
  let passed = check("every turn was taken", turn.load(ordering: .relaxed) == rallies)
  // A CPU that the emulator has not run in the meantime has yet to take its interrupt.
  let end = Interrupts.tickCount + 500
  while interprocessorInterrupts == 0, Interrupts.tickCount < end { ca_wait_for_event() }
  return check("CPUs were woken by other CPUs", AArch64().cpuCount == 1 || interprocessorInterrupts > 0)
    && passed
}

private var interprocessorInterrupts: Int {
  var sum = 0
  forEachCPU { _, cpu in sum += cpu.pointee.interprocessorInterrupts }
  return sum
}

// MARK: The end

/// Panics on the last CPU while all others write lines.
func testPanicOnOtherCPU() -> Never {
  let last = AArch64().cpuCount - 1
  beginCallOnOtherCPUs(
    { last in
      if ca_cpu_number() == last {
        let end = ca_read_cntvct_el0() + ca_read_cntfrq_el0() / 5000
        while ca_read_cntvct_el0() < end { ca_wait_for_event() }
        panic("asked for")
      }
      // With interrupts off, as in any handler: it does not learn of the panic by an interrupt.
      writeLinesForEver("a line of a CPU that has not heard of the panic")
    }, UInt(last))
  writeLinesForEver("a line of a CPU that hears of the panic")
}

/// Writes a line again and again, and lets an emulator that runs one CPU at a time turn to the others in between.
private func writeLinesForEver(_ line: StaticString) -> Never {
  while true {
    Console.check(line, passed: true)
    for _ in 0..<AArch64().cpuCount { ca_wait_for_event() }
  }
}
