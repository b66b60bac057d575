// Programs that compute without yielding, for tests of preemption.

import SystemCallInterface

/// A child that computes without a system call.
struct SpinningChild: ChildProgram {
  let rounds: Int

  func prove<Kernel: SystemCalls>(on kernel: Kernel) -> Bool {
    compute(rounds: rounds, start: 3, on: kernel) == expected(rounds: rounds, start: 3)
  }

  func finish<Kernel: SystemCalls>(on kernel: Kernel) -> Int { kernel.processID() }
}

/// Steps a value in memory: each round is a load and a store of the process's own page.
private func compute<Kernel: SystemCalls>(rounds: Int, start: UInt64, on kernel: Kernel) -> UInt64 {
  let address = kernel.scratchPage
  kernel.store(start, at: address)
  for _ in 0..<rounds { kernel.store(kernel.load(address) &* 6_364_136_223_846_793_005 &+ 1, at: address) }
  return kernel.load(address)
}

/// Computes the same value in registers.
private func expected(rounds: Int, start: UInt64) -> UInt64 {
  var value = start
  for _ in 0..<rounds { value = value &* 6_364_136_223_846_793_005 &+ 1 }
  return value
}

/// Exits while a child computes.
func leaveChild<Kernel: SystemCalls>(rounds: Int, on kernel: Kernel) -> FailedCheck? {
  kernel.fork(SpinningChild(rounds: rounds)) > 0 ? nil : .forkFailed
}

/// Parent and child compute side by side; both must get the right result.
func spin<Kernel: SystemCalls>(rounds: Int, on kernel: Kernel) -> FailedCheck? {
  let child = kernel.fork(SpinningChild(rounds: rounds))
  guard child > 0 else { return .forkFailed }
  guard compute(rounds: rounds, start: 5, on: kernel) == expected(rounds: rounds, start: 5) else {
    return .parentPageChanged
  }
  guard kernel.awaitChild(child) == .holding else { return .childDidNotHold }
  kernel.release(child)
  guard let ended = kernel.wait(), ended.processID == child, ended.status == child else { return .wrongStatus }
  return nil
}
