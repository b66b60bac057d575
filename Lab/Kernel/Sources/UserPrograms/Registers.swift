// Programs that check that registers leak nothing from one process to another.

import SystemCallInterface

/// A child that keeps its number in TPIDR_EL0.
struct ThreadPointerChild: ChildProgram {
  let rounds: Int

  func prove<Kernel: SystemCalls>(on kernel: Kernel) -> Bool {
    guard kernel.threadPointer == parentMark else { return false }
    let own = UInt64(truncatingIfNeeded: kernel.processID())
    kernel.threadPointer = own
    for _ in 0..<rounds where kernel.threadPointer != own { return false }
    return true
  }

  func finish<Kernel: SystemCalls>(on kernel: Kernel) -> Int { Int(truncatingIfNeeded: kernel.threadPointer) }
}

/// Parent and children keep values in TPIDR_EL0 at the same time; none may see another's.
func keepThreadPointers<Kernel: SystemCalls>(rounds: Int, on kernel: Kernel) -> FailedCheck? {
  guard kernel.threadPointer == 0 else { return .foreignRegister }
  kernel.threadPointer = parentMark
  let first = kernel.fork(ThreadPointerChild(rounds: rounds))
  let second = kernel.fork(ThreadPointerChild(rounds: rounds))
  guard first > 0, second > 0 else { return .forkFailed }
  for _ in 0..<rounds where kernel.threadPointer != parentMark { return .foreignRegister }
  guard kernel.awaitChild(first) == .holding, kernel.awaitChild(second) == .holding else {
    return .foreignRegister
  }
  kernel.release(0)
  while let child = kernel.wait() {
    guard child.end == .exited, child.status == child.processID else { return .foreignRegister }
  }
  return kernel.threadPointer == parentMark ? nil : .foreignRegister
}

/// A child that uses something it has no right to.
struct TouchingChild: ChildProgram {
  let index: Int

  func prove<Kernel: SystemCalls>(on kernel: Kernel) -> Bool { !kernel.touchForbidden(index) }

  func finish<Kernel: SystemCalls>(on kernel: Kernel) -> Int { kernel.processID() }
}

/// Forks a child for each forbidden thing; each must be killed for it.
func touchForbidden<Kernel: SystemCalls>(on kernel: Kernel) -> FailedCheck? {
  var index = 0
  while true {
    let child = kernel.fork(TouchingChild(index: index))
    guard child > 0 else { return .forkFailed }
    kernel.note(.progress, index)
    let hasListEnded = kernel.awaitChild(child) == .holding
    kernel.release(0)
    guard let ended = kernel.wait(), ended.processID == child else { return .wrongChildCount }
    if hasListEnded { return nil }
    guard ended.end == .illegalInstruction else { return .notKilled }
    index += 1
  }
}
