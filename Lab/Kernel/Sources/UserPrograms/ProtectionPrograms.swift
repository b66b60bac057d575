// Programs that try forbidden accesses.

import SystemCallInterface

/// Parent and child write to the same page, in both orders, and must not see each other's values.
func proveIsolation<Kernel: SystemCalls>(on kernel: Kernel) -> FailedCheck? {
  markScratchPage(on: kernel)
  for _ in 0..<3 {
    // The child writes first: the parent's value must stay.
    guard case .holding(let first) = forkHoldingChild(on: kernel) else { return .forkFailed }
    guard kernel.load(kernel.scratchPage) == parentMark else { return .parentPageChanged }
    // The parent writes while the child, and a second one, hold copies of their own.
    kernel.store(~parentMark, at: kernel.scratchPage + 8)
    guard case .holding(let second) = forkHoldingChild(on: kernel) else { return .forkFailed }
    guard first != second else { return .childDidNotHold }
    if let failed = endHoldingChildren(2, on: kernel) { return failed }
    guard kernel.load(kernel.scratchPage + 8) == ~parentMark else { return .parentPageChanged }
    kernel.store(0, at: kernel.scratchPage + 8)
  }
  return nil
}

/// A child that does something it must be killed for.
struct ForbiddenChild: ChildProgram {
  /// The forbidden act.
  enum Deed { case readsKernelMemory, writesKernelMemory, overflowsKernelStack }
  let deed: Deed

  func prove<Kernel: SystemCalls>(on kernel: Kernel) -> Bool {
    switch deed {
    case .readsKernelMemory: _ = kernel.load(kernel.kernelMemory)
    case .writesKernelMemory: kernel.store(0, at: kernel.kernelMemory)
    case .overflowsKernelStack: kernel.overflowStack()
    }
    return true
  }

  func finish<Kernel: SystemCalls>(on kernel: Kernel) -> Int { 0 }
}

/// Forks a child for one deed: it must be killed for the given reason, and the parent goes on.
private func expect<Kernel: SystemCalls>(
  _ end: EndOfProcess, of deed: ForbiddenChild.Deed, on kernel: Kernel
) -> FailedCheck? {
  let child = kernel.fork(ForbiddenChild(deed: deed))
  guard child > 0 else { return .forkFailed }
  guard kernel.awaitChild(child) == .dead else {
    kernel.release(0)
    _ = kernel.wait()
    return .notKilled
  }
  guard let ended = kernel.wait(), ended.processID == child else { return .wrongChildCount }
  return ended.end == end ? nil : .notKilled
}

/// One child reads and one writes kernel memory; both must be killed.
func readKernelMemory<Kernel: SystemCalls>(on kernel: Kernel) -> FailedCheck? {
  expect(.accessViolation, of: .readsKernelMemory, on: kernel)
    ?? expect(.accessViolation, of: .writesKernelMemory, on: kernel)
}

/// A child's system call overflows its kernel stack: the child must die, and fork must work afterwards.
func overflowStack<Kernel: SystemCalls>(on kernel: Kernel) -> FailedCheck? {
  if let failed = expect(.stackOverflow, of: .overflowsKernelStack, on: kernel) { return failed }
  return proveIsolation(on: kernel)
}
