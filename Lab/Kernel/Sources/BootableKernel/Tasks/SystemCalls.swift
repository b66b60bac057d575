// System calls, at EL1t in the caller's thread: number in x8, arguments in x0 and x1, results in x0 to x2.
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios
import SystemCallInterface
import UserPrograms

/// Carries out a system call; the process's registers are in `frame`.
func systemCall(_ frame: UnsafeMutablePointer<kernel_frame>) {
  guard let number = SystemCallNumber(rawValue: frame.pointee.x.8) else {
    endProcess(status: 0, end: .illegalInstruction)
  }
  let first = Int(truncatingIfNeeded: frame.pointee.x.0)
  let second = Int(truncatingIfNeeded: frame.pointee.x.1)
  let task = currentTask()
  let processes = KernelObjects.processes
  var result = 0
  switch number {
  case .write:
    result = processes.pointee.write(
      VirtualAddress(UInt(bitPattern: first)), count: second, of: task, to: Console())
  case .fork:
    result = inAllocatorSection { fork(task, frame) }
  case .exit:
    endProcess(status: first, end: .exited)
  case .wait:
    result = wait(task, frame)
  case .processID:
    result = Int(task.pointee.processID)
  case .proveStack:
    result = proveStack(task)
  case .hold:
    hold(task)
  case .awaitChild:
    result = awaitChild(first, task)
  case .release:
    result = inAllocatorSection {
      processes.pointee.release(first, of: task) { Scheduler.wake(thread(of: $0)) }
    }
  case .note:
    inAllocatorSection { processes.pointee.takeNote(first, second, from: task, console: Console()) }
  case .overflowStack:
    leaveStack(&task.pointee.registry)
  }
  frame.pointee.x.0 = UInt64(bitPattern: Int64(result))
}

// Down to the depth of this process: pages that are not mapped grow.
private func proveStack(_ task: TaskPointer) -> Int {
  guard let range = KernelObjects.processes.pointee.provenRange(of: task) else { return 0 }
  return proveStack(downTo: range.base.rawValue, owner: UInt64(task.pointee.processID)) ? 1 : 0
}

// The frames that a fork may need, and some more, so that not every fork has to shrink.
private let framesPerShrink = 32

private func fork(_ parent: TaskPointer, _ frame: UnsafeMutablePointer<kernel_frame>) -> Int {
  let child: TaskPointer
  parent.pointee.threadPointer = ca_read_tpidr_el0()
  do {
    child = try KernelObjects.processes.pointee.fork(
      parent, userStackPointer: VirtualAddress(UInt(frame.pointee.sp)),
      shrinking: { Scheduler.reclaim(target: framesPerShrink) })
  } catch {
    return ForkFailure.noMemory.rawValue
  }
  var registers = frame.pointee
  registers.x.0 = 0
  prepareProcess(child, registers)
  startProcess(child)
  return Int(child.pointee.processID)
}

private func wait(_ task: TaskPointer, _ frame: UnsafeMutablePointer<kernel_frame>) -> Int {
  // With interrupts off, no wake-up is lost between the check and the wait.
  let state = ca_disable_interrupts()
  defer { ca_restore_interrupts(state) }
  while true {
    switch KernelObjects.processes.pointee.reap(childOf: task) {
    case .reaped(let ended):
      frame.pointee.x.1 = UInt64(bitPattern: Int64(ended.status))
      frame.pointee.x.2 = UInt64(ended.end.rawValue)
      return ended.processID
    case .noneEnded:
      Scheduler.wait()
    case .noChildren:
      return -1
    }
  }
}

private func awaitChild(_ processID: Int, _ task: TaskPointer) -> Int {
  let state = ca_disable_interrupts()
  defer { ca_restore_interrupts(state) }
  while true {
    let child = KernelObjects.processes.pointee.childState(processID, of: task)
    guard child == .running else { return child.rawValue }
    Scheduler.wait()
  }
}

private func hold(_ task: TaskPointer) {
  let state = ca_disable_interrupts()
  KernelObjects.processes.pointee.hold(task) { Scheduler.wake(thread(of: $0)) }
  // A child's end wakes its parent, whatever the parent waits for.
  while task.pointee.state == .holding { Scheduler.wait() }
  ca_restore_interrupts(state)
}
