// Self-tests of threads and exceptions: guards, preemption, faults in handlers.
import CAArch64
import KernelAssembly
import KernelStacks
import Scenarios
import Synchronization
import UserPrograms

// The numbers of spinning threads that have ended, and that ended with the right value.
private let spinnersEnded = Atomic<Int>(0)
private let spinnersRight = Atomic<Int>(0)

// Static records of kernel threads.
nonisolated(unsafe) private var firstThread = Thread()
nonisolated(unsafe) private var secondThread = Thread()

func startThread(
  _ record: ThreadPointer, id: Int, body: @convention(c) (UInt) -> Void, argument: UInt
) {
  let stack = KernelObjects.allocateStack()
  record.pointee.prepareThread(
    id: id, stackBase: stack.base.rawValue, stackTop: stack.top.rawValue, body: body, argument: argument)
  let state = ca_disable_interrupts()
  Scheduler.enqueue(record)
  ca_restore_interrupts(state)
}

/// Takes an exception that the handler cannot survive: its entry saves registers to an address without a record.
///
/// - Parameter record: that address.
func testHandlerFault(record: UInt64) -> Never {
  // Exception entry saves registers to the current record.
  _ = ca_disable_interrupts()
  ca_write_tpidr_el1(record)
  ca_isb()
  kernel_enter_scheduler()
  panic("the handler did not fault")
}

// Computes without yielding; a preemption that lost a register would spoil the value.
private func spin(_ stride: UInt) {
  var value = stride
  var count = 0
  while !isEnding() {
    value = value &* 6_364_136_223_846_793_005 &+ stride
    count += 1
  }
  var expected = stride
  for _ in 0..<count { expected = expected &* 6_364_136_223_846_793_005 &+ stride }
  if expected == value { spinnersRight.add(1, ordering: .relaxed) }
  spinnersEnded.add(1, ordering: .releasing)
}

@inline(never)
private func isEnding() -> Bool { Interrupts.tickCount > 500 }

func testPreemption() -> Bool {
  withUnsafeMutablePointer(to: &firstThread) {
    startThread($0, id: -2, body: { stride in spin(stride) }, argument: 3)
  }
  withUnsafeMutablePointer(to: &secondThread) {
    startThread($0, id: -3, body: { stride in spin(stride) }, argument: 5)
  }
  var passed = runProgram(.spin, operations: 2_000_000)
  passed = runProgram(.proveStacks, operations: 1000) && passed
  while Interrupts.tickCount <= 500 { Scheduler.yield() }
  // On other CPUs they take as long to compute the expected value as the value itself.
  while spinnersEnded.load(ordering: .acquiring) < 2 { Scheduler.yield() }
  passed = check("EL0 was preempted", Interrupts.userPreemptionCount > 10) && passed
  passed = check("system calls were preempted", Interrupts.systemCallPreemptionCount > 10) && passed
  passed = check("kernel threads were preempted", Interrupts.threadPreemptionCount > 10) && passed
  return check("preempted threads kept their registers", spinnersRight.load(ordering: .relaxed) == 2)
    && passed
}
