// A self-test of idle CPUs: they notice work at any moment, without a tick, and report it done when it is.
import AArch64Machine
import CAArch64
import KernelStacks
import Scenarios
import Synchronization

private let done = Atomic<UInt64>(0)

// Long enough to be seen unfinished if its end is reported too early.
private func work(_ length: UInt) {
  for _ in 0..<length { ca_isb() }
  done.wrappingAdd(1, ordering: .acquiringAndReleasing)
}

private let rounds = 1000

/// Gives work to idle CPUs at every moment of their loop: just before they look for it, and between that and their sleep.
///
/// Ticks are off meanwhile: a CPU that missed its work, or a thread that it made ready itself, would sleep for ever, and the
/// test would hang.
func testIdleWork() -> Bool {
  let count = AArch64().cpuCount
  callOnOtherCPUs({ _ in stopTick() }, 0)
  stopTick()
  var isDone = true
  for round in 0..<rounds {
    let number = count == 1 ? 0 : 1 + round % (count - 1)
    if number > 0 {
      // The CPU wakes up, finds no work, and goes back to sleep.
      InterprocessorInterrupt.reschedule.send(to: number)
      for _ in 0..<round * 7 % 1024 { ca_isb() }
    }
    let length: UInt = round % 16 == 0 ? 4000 : 0
    runOnIdleThreads(1 << UInt64(number), { work($0) }, length)
    isDone = done.load(ordering: .acquiring) == UInt64(round + 1) && isDone
  }
  runOnIdleThreads(firstCPUs(count), { work($0) }, 4000)
  isDone = done.load(ordering: .acquiring) == UInt64(rounds + count) && isDone
  // The last thread of a CPU is followed by its idle thread, and its end wakes the waiting thread.
  for _ in 0..<rounds / 10 {
    startThreads(1, { _ in work(0) })
    awaitThreads()
  }
  callOnOtherCPUs({ _ in startTick() }, 0)
  startTick()
  return check("work was done when idle CPUs said so", isDone)
}

private func stopTick() {
  ca_write_cntv_ctl_el0(0)
  ca_isb()
}

// A tick at once; its handler sets the next one.
private func startTick() {
  ca_write_cntv_tval_el0(0)
  ca_write_cntv_ctl_el0(1)
  ca_isb()
}
