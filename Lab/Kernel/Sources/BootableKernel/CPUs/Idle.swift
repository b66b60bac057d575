// The idle loop of a CPU: it does its part of work for all CPUs, clears page frames, sleeps, or goes offline.
import AArch64Machine
import CAArch64
import KernelProcesses
import KernelStacks
import Scenarios

/// The number of frames an idle CPU clears before it looks for other work: some 5,000 instructions.
private var clearedFramesPerLook: Int { 16 }

/// Clears free frames for the pool of zeroed frames.
///
/// Interrupts are taken between two frames, never while a frame is cleared: the idle thread is never switched out holding a
/// frame that other threads might wait for.
///
/// - Returns: whether more frames may be left to clear.
private func clearFrames() -> Bool {
  guard KernelObjects.hasProcesses else { return false }
  for _ in 0..<clearedFramesPerLook {
    let state = ca_disable_interrupts()
    let hasCleared = KernelObjects.frames.pointee.zeroOneFrame()
    ca_restore_interrupts(state)
    if !hasCleared { return false }
  }
  return true
}

/// The body of idle threads.
///
/// Each tick wakes the CPU and has it check whether the pool is full, which is cheap.
func idle() -> Never {
  while true {
    let isClearing = clearFrames()
    let state = ca_disable_interrupts()
    if PerCPU.current.pointee.state == .stopping, Scheduler.mayStop { leaveThisCPU() }
    let isWanted = hasWork
    // A pending interrupt ends the wait, and is taken once interrupts are on.
    if !isWanted, !isClearing { ca_wait_for_interrupt() }
    ca_restore_interrupts(state)
    if isWanted { workOnIdleThread() }
  }
}
