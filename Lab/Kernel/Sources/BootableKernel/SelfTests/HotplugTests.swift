// Self-tests of CPUs that go offline and come back while threads run everywhere.
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios
import Synchronization

// The place in the ring of thread `index`.
private func ring(_ index: UInt64) -> UnsafeMutablePointer<Atomic<UInt64>> {
  UnsafeMutablePointer(bitPattern: kernel_self_test_words()).unsafelyUnwrapped + Int(index)
}
private let joined = Atomic<UInt64>(0)
private let finished = Atomic<UInt64>(0)
private let left = Atomic<UInt64>(0)
private let isOver = Atomic<UInt64>(0)
private let damages = Atomic<UInt64>(0)
private let failures = Atomic<UInt64>(0)
private let turns = Atomic<UInt64>(0)
private let seenCPUs = Atomic<UInt64>(0)
nonisolated(unsafe) private var threadCount: UInt64 = 0

// With interrupts off, so that the bit is of this CPU, and before it stops.
private func noteCPU() {
  let state = ca_disable_interrupts()
  seenCPUs.bitwiseOr(1 << ca_cpu_number(), ordering: .acquiringAndReleasing)
  ca_restore_interrupts(state)
}

private func seen(by number: Int) -> Bool { seenCPUs.load(ordering: .acquiring) & 1 << UInt64(number) != 0 }

private func wakeNext(after index: UInt64) {
  let next = ring((index + 1) % threadCount).pointee.load(ordering: .acquiring)
  let state = ca_disable_interrupts()
  if let thread = ThreadPointer(bitPattern: UInt(next)) { Scheduler.wake(thread) }
  ca_restore_interrupts(state)
}

// Goes deep, lets other threads run there, and checks its words on the way back.
@inline(never)
private func descend(_ depth: Int, _ seed: UInt64) {
  var words = InlineArray<64, UInt64>(repeating: 0)
  withUnsafeMutablePointer(to: &words) { pointer in
    let address = UInt(bitPattern: pointer)
    for index in 0..<64 { ca_store(address + UInt(index) * 8, seed &* UInt64(index + depth + 1)) }
    if depth > 0 { descend(depth - 1, seed) } else { Scheduler.yield() }
    for index in 0..<64 where ca_load(address + UInt(index) * 8) != seed &* UInt64(index + depth + 1) {
      damages.wrappingAdd(1, ordering: .acquiringAndReleasing)
    }
  }
}

// Each wakes the next before it sleeps, so that one is always awake.
private func goRound() {
  let index = joined.wrappingAdd(1, ordering: .acquiringAndReleasing).oldValue
  ring(index).pointee.store(UInt64(UInt(bitPattern: Thread.current)), ordering: .releasing)
  turns.wrappingAdd(1, ordering: .acquiringAndReleasing)
  while turns.load(ordering: .acquiring) < threadCount { Scheduler.yield() }
  var turn: UInt64 = 0
  while isOver.load(ordering: .acquiring) == 0 {
    turn += 1
    descend(Int(turn % 12), index + turn)
    do {
      try inAllocatorSection { () throws(ThreadStackError) in
        let stack = try KernelObjects.stacks.pointee.allocate(node: nil)
        KernelObjects.stacks.pointee.free(stack)
      }
    } catch {
      failures.wrappingAdd(1, ordering: .acquiringAndReleasing)
    }
    noteCPU()
    turns.wrappingAdd(1, ordering: .acquiringAndReleasing)
    wakeNext(after: index)
    let state = ca_disable_interrupts()
    if turn % 4 == 0, isOver.load(ordering: .acquiring) == 0 { Scheduler.wait() }
    ca_restore_interrupts(state)
  }
  // No thread ends before all have finished with the others' records.
  finished.wrappingAdd(1, ordering: .acquiringAndReleasing)
  while finished.load(ordering: .acquiring) < threadCount {
    wakeNext(after: index)
    Scheduler.yield()
  }
  left.wrappingAdd(1, ordering: .acquiringAndReleasing)
  while left.load(ordering: .acquiring) < threadCount { Scheduler.yield() }
}

// The time it takes depends on how many CPUs run at the same time. A condition that is never met makes the test hang.
private func letOthersRun(until isDone: () -> Bool) {
  while !isDone() {
    // A CPU may take the boot task and then take no other thread.
    noteCPU()
    Scheduler.yield()
    ca_wait_for_event()
  }
}

/// Whether an offline CPU has left neither a reserve nor frames in its lists.
private func hasNothing(_ number: Int) -> Bool {
  return inAllocatorSection {
    KernelObjects.stacks.pointee.reservedFrameCount(ofCPU: number) == 0
      && KernelObjects.frames.pointee.drain(cpu: number) == 0
  }
}

private let isInCall = Atomic<UInt64>(0)
private let leftInCall = Atomic<UInt64>(0)

// In a handler of the CPU that is about to go: a call to it is in progress until this returns.
private func watchDeparture(_ number: UInt) {
  isInCall.store(1, ordering: .releasing)
  // The thread that takes the CPU offline may be on it, and cannot go on until this returns.
  if Thread.boot.pointee.scheduled.cpu == Int(number) { return }
  while !Scheduler.isClosed(Int(number)) { ca_wait_for_event() }
  // Long enough for a CPU that wrongly does not wait for the call.
  for _ in 0..<200_000 { ca_isb() }
  if PerCPU.at(Int(number)).pointee.state != .online {
    leftInCall.wrappingAdd(1, ordering: .acquiringAndReleasing)
  }
}

/// Checks that a CPU goes offline only after it has answered a call.
func testCallsBeforeDepartures() -> Bool {
  let number = AArch64().cpuCount - 1
  var isBack = true
  for _ in 0..<8 {
    isInCall.store(0, ordering: .releasing)
    startThreads(
      1, { _ in callOnCPU(AArch64().cpuCount - 1, { watchDeparture($0) }, UInt(AArch64().cpuCount - 1)) })
    while isInCall.load(ordering: .acquiring) == 0 { Scheduler.yield() }
    isBack = takeOffline(number) && bringOnline(number) && isBack
    awaitThreads()
  }
  let passed = check("the CPU went offline and came back each time", isBack)
  return check("no CPU left in the middle of a call", leftInCall.load(ordering: .relaxed) == 0) && passed
}

/// Takes each CPU but the first offline and back, several times, while three threads for each CPU run, sleep, wake each
/// other, grow their stacks and use the allocator.
func testCPUsComeAndGo() -> Bool {
  let count = AArch64().cpuCount
  KernelObjects.processes.pointee.settle()
  let free = KernelObjects.frames.pointee.freeFrames
  var passed = check("the first CPU stays", !takeOffline(0) && !bringOnline(0))
  passed = check("there are no other CPUs", !takeOffline(count) && !bringOnline(count)) && passed
  threadCount = UInt64(3 * count)
  startThreads(3 * count, { _ in goRound() })
  var (changes, areOff, areQuiet, areBack) = (0, true, true, true)
  var areEmpty = true
  for _ in 0..<5 {
    for number in 1..<max(count, 1) {
      areOff = takeOffline(number) && PerCPU.at(number).pointee.state == .offline && areOff
      areOff = !takeOffline(number) && areOff
      areEmpty = hasNothing(number) && areEmpty
      seenCPUs.store(0, ordering: .relaxed)
      let before = turns.load(ordering: .acquiring)
      letOthersRun { turns.load(ordering: .acquiring) > before + 4 * threadCount }
      areQuiet = !seen(by: number) && areQuiet
      areBack = bringOnline(number) && !bringOnline(number) && areBack
      letOthersRun { seen(by: number) }
      changes += 1
    }
  }
  // All CPUs but the first at once.
  for number in 1..<max(count, 1) { areOff = takeOffline(number) && areOff }
  let before = turns.load(ordering: .acquiring)
  letOthersRun { turns.load(ordering: .acquiring) > before + 4 * threadCount }
  for number in 1..<max(count, 1) { areBack = bringOnline(number) && areBack }
  isOver.store(1, ordering: .releasing)
  awaitThreads()
  KernelObjects.processes.pointee.settle()
  passed =
    check("each CPU went offline as often as it was asked to", areOff && changes == 5 * (count - 1)) && passed
  passed = check("each CPU left nothing behind that others could need", areEmpty) && passed
  passed = check("nothing ran on a CPU that was offline", areQuiet) && passed
  passed = check("each CPU came back, and ran threads", areBack) && passed
  passed =
    check("every thread found what it had left on its stack", damages.load(ordering: .relaxed) == 0) && passed
  passed = check("no allocation failed", failures.load(ordering: .relaxed) == 0) && passed
  return check("no frame was lost", KernelObjects.frames.pointee.freeFrames == free)
    && passed
}
