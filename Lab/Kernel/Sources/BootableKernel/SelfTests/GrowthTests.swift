// Self-tests of growing stacks: their contents across growth and preemption, and the report of a stall.
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios
import Synchronization

nonisolated(unsafe) private var firstThread = Thread()
nonisolated(unsafe) private var secondThread = Thread()
private let finished = Atomic<Int>(0)
private let intact = Atomic<Int>(0)

// Each level stores words that encode its depth on the stack, and checks them on the way back.
@inline(never)
private func goDown(_ levels: Int, _ owner: UInt64) -> Bool {
  var words = InlineArray<32, UInt64>(repeating: 0)
  return withUnsafeMutablePointer(to: &words) { pointer in
    let address = UInt(bitPattern: pointer)
    for index in 0..<32 { ca_store(address + UInt(index) * 8, owner &* UInt64(levels * 64 + index + 1)) }
    if levels > 0, !goDown(levels - 1, owner) { return false }
    for index in 0..<32 where ca_load(address + UInt(index) * 8) != owner &* UInt64(levels * 64 + index + 1) {
      return false
    }
    return true
  }
}

private func goDownOften(_ owner: UInt) {
  var held = true
  // Deeper each time, so that growth occurs at many places.
  for levels in 1...36 {
    for _ in 0..<100 { held = goDown(levels, UInt64(owner)) && held }
  }
  if held { intact.wrappingAdd(1, ordering: .releasing) }
  finished.wrappingAdd(1, ordering: .releasing)
}

func testGrowth() -> Bool {
  withUnsafeMutablePointer(to: &firstThread) {
    startThread($0, id: -2, body: { goDownOften($0) }, argument: 3)
  }
  withUnsafeMutablePointer(to: &secondThread) {
    startThread($0, id: -3, body: { goDownOften($0) }, argument: 5)
  }
  let first = base(of: firstThread.stackBase)
  let second = base(of: secondThread.stackBase)
  let isGrowing = KernelObjects.stacks.pointee.configuration.strategy == .growing
  let before = KernelObjects.stacks.pointee.mappedPageCount(first)
  while finished.load(ordering: .acquiring) < 2 { Scheduler.yield() }
  var passed = check("every level found what it had left", intact.load(ordering: .relaxed) == 2)
  passed = check("threads were preempted", Interrupts.threadPreemptionCount > 2) && passed
  for index in 0..<2 {
    let stack = index == 0 ? first : second
    let used = KernelObjects.stacks.pointee.highWaterByteCount(stack)
    let pages = KernelObjects.stacks.pointee.mappedPageCount(stack)
    passed = check("a thread used most of its stack", used > 8192 && pages >= 3) && passed
  }
  passed = check("a growing stack began with one page", !isGrowing || before == 1) && passed
  return passed
}

/// Whether the handler of a fault has the access repeated.
private func isRepeated(_ exceptionClass: ExceptionClass, status: UInt64, _ address: UInt) -> Bool {
  // A thread interrupted in a probe: the handler ends the probe on any fault that is not over.
  var record = Thread()
  record.stackBase = Thread.current.pointee.stackBase
  record.head.stack_top = Thread.current.pointee.head.stack_top
  record.head.frame.sp = UInt64(record.stackBase + 4096)
  record.head.frame.elr = UInt64(kernel_probe_begin())
  record.head.frame.x.30 = record.head.frame.elr
  record.head.frame.spsr = 0x3c4
  let syndrome = UInt64(exceptionClass.rawValue) << 26 | 1 << 25 | status
  let next = withUnsafeMutablePointer(to: &record) {
    kernelException($0, syndrome, address) == UnsafeMutableRawPointer($0)
  }
  return next && record.head.frame.elr == UInt64(kernel_probe_begin()) && record.head.frame.x.0 == 0
}

/// Checks faults of walks older than the entries: the handlers are called as the vectors call them, for addresses that are
/// mapped by then.
func testFaultsThatAreOver() -> Bool {
  let area: UInt
  let stack: ThreadStack
  do {
    area = try KernelObjects.arena.pointee.vmalloc(
      size: 4096, caller: "self-test", frames: KernelObjects.frames.pointee
    ).rawValue
  } catch { fail("area", error) }
  do { stack = try KernelObjects.stacks.pointee.allocate(node: nil) } catch { fail("stack", error) }
  let (base, top) = (stack.base.rawValue, stack.base.rawValue + UInt(stack.size))
  let isGrowing = KernelObjects.stacks.pointee.configuration.strategy == .growing
  let state = ca_disable_interrupts()
  let levels: InlineArray<4, UInt64> = [4, 5, 6, 7]
  var (data, code, others, unmapped) = (true, true, true, true)
  for index in 0..<levels.count {
    data = isRepeated(.dataAbort, status: levels[index], area) && data
    code = isRepeated(.instructionAbort, status: levels[index], area) && code
    others = !isRepeated(.dataAbort, status: levels[index] + 8, area) && others
    unmapped = !isRepeated(.dataAbort, status: levels[index], area + 4096) && unmapped
  }
  let grown = kernelGrow(top - 8, base) == 1
  let guarded = kernelGrow(base - 8, base) == 1
  ca_restore_interrupts(state)
  KernelObjects.stacks.pointee.free(stack)
  var passed = check("an access to an address that is mapped by now is repeated", data && code)
  passed = check("faults of permissions, and those that are not over, are not", others && unmapped) && passed
  return check(
    "a page of a growing stack that is mapped by now counts as grown", grown == isGrowing && !guarded)
    && passed
}

private func base(of lowestUsable: UInt) -> VirtualAddress {
  KernelObjects.stacks.pointee.geometry.stackBase(containing: VirtualAddress(lowestUsable))
}

// Ensures all of its stack but the lowest page, and never ends.
private func keepAll() {
  let pages = VirtualAddress(Thread.current.pointee.stackBase) + pageSize
  let here = VirtualAddress(UInt(ca_stack_pointer()))
  do {
    try Scheduler.withEnsured(here - pages) {
      _ = ca_disable_interrupts()
      while true { Scheduler.wait() }
    }
  } catch { fail("stack", error) }
}

/// Makes three threads for each CPU, which all run but the last, and so reaches a stall.
///
/// Each CPU has 6 frames, 3 in its reserve and 3 set aside for refills; each thread keeps 2, and can only be switched in
/// where there are 3.
func testStall() -> Never {
  let processes = KernelObjects.processes
  processes.pointee.beginThreads(.rest, seed: 1)
  do {
    for _ in 0..<3 * AArch64().cpuCount {
      prepareKernelThread(try processes.pointee.makeThread(), body: { _ in keepAll() })
    }
  } catch { fail("thread", error) }
  // Reserves are full, and CPUs have no free frames of their own, before all other frames are taken.
  processes.pointee.settle()
  _ = ca_disable_interrupts()
  while (try? KernelObjects.frames.pointee.allocate(FrameRequest(purpose: .other))) != nil {}
  processes.pointee.visitThreads()
  while processes.pointee.wakeNext(where: { _ in true }, resume: { wakeKernelThread($0) }) {}
  while true { Scheduler.wait() }
}
