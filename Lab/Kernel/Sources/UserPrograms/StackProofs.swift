// A program that is in system calls nearly all of its time, for tests of their preemption.

import SystemCallInterface

/// A child that has the kernel use its whole kernel stack over and over.
struct StackProvingChild: ChildProgram {
  let rounds: Int

  func prove<Kernel: SystemCalls>(on kernel: Kernel) -> Bool { proves(rounds: rounds, on: kernel) }

  func finish<Kernel: SystemCalls>(on kernel: Kernel) -> Int { kernel.processID() }
}

private func proves<Kernel: SystemCalls>(rounds: Int, on kernel: Kernel) -> Bool {
  for _ in 0..<rounds where !kernel.proveStack() { return false }
  return true
}

/// Parent and child have their kernel stacks filled and verified side by side; neither may see the other's words.
func proveStacks<Kernel: SystemCalls>(rounds: Int, on kernel: Kernel) -> FailedCheck? {
  let child = kernel.fork(StackProvingChild(rounds: rounds))
  guard child > 0 else { return .forkFailed }
  guard proves(rounds: rounds, on: kernel) else { return .stackNotUsable }
  guard kernel.awaitChild(child) == .holding else { return .childDidNotHold }
  kernel.release(child)
  guard let ended = kernel.wait(), ended.processID == child, ended.status == child else { return .wrongStatus }
  return nil
}
