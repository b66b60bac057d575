// A self-test of ensured sections: thread code that takes no fault, and whose pages stay when sleeping threads are shrunk.
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios
import Synchronization

nonisolated(unsafe) private var keeper = Thread()
nonisolated(unsafe) private var sleeper = Thread()
private let asleep = Atomic<Int>(0)
private let ended = Atomic<Int>(0)
nonisolated(unsafe) private var faults = -1
nonisolated(unsafe) private var isIntact = false
nonisolated(unsafe) private var isNested = false
nonisolated(unsafe) private var refused = 0

private func sleepOnce() {
  let state = ca_disable_interrupts()
  asleep.wrappingAdd(1, ordering: .releasing)
  Scheduler.wait()
  ca_restore_interrupts(state)
}

// Uses the stack below its own frame, where others may write, down to a page above the base.
private func keep() {
  let here = UInt(ca_stack_pointer())
  let bytes = Int(here - Thread.current.pointee.stackBase) - pageSize
  let lowest = (here - UInt(bytes) + 15) & ~15
  let record = Thread.current.scheduled
  do throws(ThreadStackError) {
    try Scheduler.withEnsured(bytes) {
      let before = KernelObjects.stacks.pointee.grownPageCount
      let floor = record.pointee.floor
      ca_store(lowest, 0x1234)
      do throws(ThreadStackError) {
        try Scheduler.withEnsured(64) { isNested = record.pointee.floor == floor }
      } catch { isNested = false }
      isNested = isNested && record.pointee.floor == floor
      faults = KernelObjects.stacks.pointee.grownPageCount - before
      sleepOnce()
      isIntact = ca_load(lowest) == 0x1234
    }
    isNested = isNested && record.pointee.floor == ScheduledThread.noFloor
  } catch { isIntact = false }
  do throws(ThreadStackError) {
    try Scheduler.withEnsured(1 << 20) { refused = -1 }
  } catch {
    if case .beyondStack(1 << 20, _) = error { refused += 1 }
  }
  ended.wrappingAdd(1, ordering: .releasing)
}

// Uses the same depth without a section: nothing protects its pages.
private func use() {
  _ = prove_stack(Thread.current.pointee.stackBase + UInt(pageSize), 1)
  sleepOnce()
  ended.wrappingAdd(1, ordering: .releasing)
}

func testEnsured() -> Bool {
  let isGrowing = KernelObjects.stacks.pointee.configuration.strategy == .growing
  withUnsafeMutablePointer(to: &keeper) { startThread($0, id: -2, body: { _ in keep() }, argument: 0) }
  withUnsafeMutablePointer(to: &sleeper) { startThread($0, id: -3, body: { _ in use() }, argument: 0) }
  while asleep.load(ordering: .acquiring) < 2 { Scheduler.yield() }
  while withUnsafePointer(to: &sleeper, { $0.pointee.scheduled.state != .waiting }) { Scheduler.yield() }
  let whole = KernelObjects.stacks.pointee.geometry.pageCount
  let bases = (keeper.scheduled.stackBase, sleeper.scheduled.stackBase)
  let before = KernelObjects.stacks.pointee.mappedPageCount(bases.1)
  _ = Scheduler.reclaim(target: Int.max)
  let kept = KernelObjects.stacks.pointee.mappedPageCount(bases.0)
  let left = KernelObjects.stacks.pointee.mappedPageCount(bases.1)
  var passed = check("a sleeper's dead pages went back", !isGrowing || before == whole - 1 && left == 1)
  passed = check("what a section has ensured stayed", !isGrowing || kept >= whole - 1) && passed
  let state = ca_disable_interrupts()
  withUnsafeMutablePointer(to: &keeper) { Scheduler.wake($0) }
  withUnsafeMutablePointer(to: &sleeper) { Scheduler.wake($0) }
  ca_restore_interrupts(state)
  while ended.load(ordering: .acquiring) < 2 { Scheduler.yield() }
  passed = check("no fault came inside the section", faults == 0) && passed
  passed = check("what others wrote below the stack pointer was there after the wait", isIntact) && passed
  passed = check("floors nest, and are gone at the end", isNested) && passed
  return check("more than the stack has is an error, and the code does not run", refused == 1) && passed
}
