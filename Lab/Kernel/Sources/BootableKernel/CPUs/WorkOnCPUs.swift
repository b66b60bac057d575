// Work that CPUs do at the same time, each its own part, in its idle thread, which never moves to another CPU.
//
//     the asking thread                 each CPU that is asked
//     function, argument, a bit for     its idle thread sees its bit, calls the function, clears the bit;
//     each CPU; an interrupt to each    the last one wakes the asking thread
//     waits until no bit is left        (see SharedWork)
//
// In a benchmark run there is no scheduler: instead of idle threads, CPUs poll their bits in a loop.
import AArch64Machine
import CAArch64
import KernelStacks
import Scenarios

// Written before the work begins, and read by the CPUs that take part.
nonisolated(unsafe) private var function: (@convention(c) (UInt) -> Void)?
nonisolated(unsafe) private var argument: UInt = 0
nonisolated(unsafe) private var asker: UInt = 0
private let work = SharedWork()

/// Whether the current CPU has a part of the work to do.
///
/// Interrupts are off.
var hasWork: Bool { work.isAsked(AArch64().currentCPU) }

/// Calls a function on CPUs at the same time, in their idle threads, and waits until all have returned.
///
/// For thread code while no other thread is ready; one call at a time. The CPUs are online and stay so. The function may be
/// interrupted and may allocate; what `argument` points to stays in place meanwhile.
///
/// - Parameter cpus: a bit for each CPU; that of the current CPU may be among them.
func runOnIdleThreads(_ cpus: UInt64, _ body: @convention(c) (UInt) -> Void, _ address: UInt) {
  function = body
  argument = address
  asker = UInt(bitPattern: Thread.current)
  work.begin(cpus)
  let state = ca_disable_interrupts()
  forEachCPU { number, _ in
    if cpus & 1 << UInt64(number) != 0 { InterprocessorInterrupt.reschedule.send(to: number) }
  }
  while !work.isDone { Scheduler.wait() }
  while !work.isReported { ca_wait_for_event() }
  ca_restore_interrupts(state)
}

/// Does the current CPU's part of the work, in its idle thread.
///
/// Always inlined: litmus tests name the idle thread.
@inline(__always)
func workOnIdleThread() {
  function?(argument)
  let state = ca_disable_interrupts()
  work.finish(AArch64().currentCPU) {
    if let thread = ThreadPointer(bitPattern: asker) { Scheduler.wake(thread) }
  }
  ca_send_event()
  ca_restore_interrupts(state)
}

// MARK: Without a scheduler

/// Calls a function on the first `count` CPUs at the same time, this one and those in ``workForEver()``, and waits until all
/// have returned.
///
/// Interrupts are off.
func runOnMeasuredCPUs(_ count: Int, _ body: @convention(c) (UInt) -> Void, _ value: UInt) {
  function = body
  argument = value
  work.begin(firstCPUs(count) & ~(1 << ca_cpu_number()))
  ca_send_event()
  body(value)
  while !work.isReported { ca_wait_for_event() }
}

/// Does the current CPU's parts of work as they come; interrupts are off.
func workForEver() -> Never {
  while true {
    while !hasWork { ca_wait_for_event() }
    function?(argument)
    work.finish(AArch64().currentCPU) {}
    ca_send_event()
  }
}
