// A program whose children fork and reap children of their own, all at the same time: one for each CPU.

import SystemCallInterface

/// A child that ends at once.
private struct BriefChild: ChildProgram {
  func prove<Kernel: SystemCalls>(on kernel: Kernel) -> Bool { false }
  func finish<Kernel: SystemCalls>(on kernel: Kernel) -> Int { failedProof }
}

/// A child that forks brief children, one after the other, each of which has ended before the next.
private struct ForkingChild: ChildProgram {
  let forks: Int

  func prove<Kernel: SystemCalls>(on kernel: Kernel) -> Bool {
    for _ in 0..<forks {
      let child = kernel.fork(BriefChild())
      guard child > 0, let ended = kernel.wait(), ended.processID == child, ended.end == .exited,
        ended.status == failedProof
      else { return false }
    }
    return true
  }

  func finish<Kernel: SystemCalls>(on kernel: Kernel) -> Int { kernel.processID() }
}

/// Has `workers` children fork at the same time, each as often as any other, `operations` times in all.
func forkAtOnce<Kernel: SystemCalls>(workers: Int, operations: Int, on kernel: Kernel) -> FailedCheck? {
  var children = InlineArray<64, Int32>(repeating: 0)
  let count = workers < 64 ? workers : 64
  let forks = operations / count
  for index in 0..<count {
    let child = kernel.fork(ForkingChild(forks: forks))
    guard child > 0 else { return .forkFailed }
    children[index] = Int32(truncatingIfNeeded: child)
  }
  for index in 0..<count {
    _ = kernel.awaitChild(Int(children[index]))
    kernel.note(.progress, (index + 1) * forks)
  }
  kernel.release(0)
  var ended = 0
  while let child = kernel.wait() {
    guard child.end == .exited, child.status == child.processID else { return .childDidNotHold }
    ended += 1
  }
  return ended == count ? nil : .wrongChildCount
}
