// Takes CPUs offline while the kernel runs, with all that they hold, and brings them back.
//
//     online --> stopping --> (firmware) --> offline --> starting --> online
//
//     1. the scheduler is closed for the CPU: its ready threads go to others
//     2. state `stopping`, while no call to it is under way: from now on no CPU calls it
//     3. its next switch leaves its thread to another CPU; its idle thread turns its interrupts off and
//        hands the CPU over to firmware
//     4. once firmware reports it off: its cached stacks, its reserve and its lists of frames go back
//
// Its chunks of the vmalloc area are under locks; other CPUs go on with them. Its exception stacks and its idle thread stay for
// its next start.
import AArch64Machine
import CAArch64
import DeviceTree
import KernelProcesses
import KernelStacks
import Scenarios
import Synchronization

private let isChanging = Atomic<UInt64>(0)

/// Whether firmware can stop a CPU, and tell when it has.
func canGoOffline(_ number: Int) -> Bool {
  let board = KernelObjects.board
  return board.pointee.firmware.tellsStates
    && board.pointee.cpus[PerCPU.at(number).pointee.boardIndex].startMethod == .firmware
}

/// Takes a CPU offline, and gives back the stacks and frames that it holds.
///
/// For thread code with interrupts on, on any CPU, even that one. A CPU that does not stop within a minute ends the machine.
///
/// - Parameter number: the CPU.
/// - Returns: whether it went offline. The first CPU does not, since its tick is the kernel's clock; nor does a CPU that is
///   not online, nor any if firmware cannot report CPU states.
func takeOffline(_ number: Int) -> Bool {
  let firmware = KernelObjects.board.pointee.firmware
  guard number > 0, number < AArch64().cpuCount, canGoOffline(number) else { return false }
  beginChange()
  defer { endChange() }
  let cpu = PerCPU.at(number)
  guard cpu.pointee.state == .online, Scheduler.close(number) else { return false }
  withoutCalls { cpu.pointee.state = .stopping }
  InterprocessorInterrupt.reschedule.send(to: number)
  let affinity = KernelObjects.board.pointee.cpus[cpu.pointee.boardIndex].affinity
  var patience = Patience(minutes: 1)
  while !firmware.hasStopped(affinity) {
    if patience.isOver() { fail("a CPU was to stop and has not in 60 seconds") }
    Scheduler.yield()
    ca_wait_for_event()
  }
  cpu.pointee.state = .offline
  inAllocatorSection {
    KernelObjects.stacks.pointee.reclaim(fromStoppedCPU: number)
    KernelObjects.frames.pointee.drain(cpu: number)
  }
  return true
}

/// Brings an offline CPU back, and waits until it runs threads.
///
/// For thread code with interrupts on.
///
/// - Returns: whether it was offline.
func bringOnline(_ number: Int) -> Bool {
  guard number > 0, number < AArch64().cpuCount else { return false }
  beginChange()
  defer { endChange() }
  guard PerCPU.at(number).pointee.state == .offline else { return false }
  return startCPU(number)
}

// Only one CPU changes its state at a time.
private func beginChange() {
  while isChanging.compareExchange(expected: 0, desired: 1, ordering: .acquiringAndReleasing).original != 0 {
    Scheduler.yield()
  }
}

private func endChange() { isChanging.store(0, ordering: .releasing) }

/// Hands the current CPU over to firmware, in its idle thread with interrupts off.
func leaveThisCPU() -> Never {
  Interrupts.stopThisCPU()
  KernelObjects.board.pointee.firmware.stopThisCPU()
  fail("firmware does not stop a CPU")
}
