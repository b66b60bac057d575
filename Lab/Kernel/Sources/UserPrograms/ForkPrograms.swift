// Programs that fork until memory ends.

/// Forks until a fork fails, all children alive together, and counts those that ran.
private func forkToExhaustion<Kernel: SystemCalls>(_ succeeded: inout Int, on kernel: Kernel) -> FailedCheck? {
  while true {
    switch forkHoldingChild(on: kernel) {
    case .holding: succeeded += 1
    case .outOfMemory: return nil
    case .failed(let check): return check
    }
    if succeeded % 64 == 0 { kernel.note(.progress, succeeded) }
  }
}

/// Forks until a fork fails, all children alive together; then lets them end and checks each one's status.
func forkUntilFailure<Kernel: SystemCalls>(
  _ succeeded: inout Int, on kernel: Kernel
) -> FailedCheck? {
  markScratchPage(on: kernel)
  guard kernel.proveStack() else { return .stackNotUsable }
  if let failed = forkToExhaustion(&succeeded, on: kernel) { return failed }
  kernel.note(.firstFailure, succeeded)
  kernel.note(.forksAttempted, succeeded + 1)
  kernel.note(.forksSucceeded, succeeded)
  return endHoldingChildren(succeeded, on: kernel)
}

/// Forks to exhaustion, lets everything end, and does both again: as many forks must succeed, but for one in 64.
///
/// At the edge, when ticks come decides which child's stack can be shrunk and which child finds no memory, so the two
/// counts differ a little either way. Whether frames are lost is looked at by the kernel, to the frame.
func exhaustAndRecover<Kernel: SystemCalls>(on kernel: Kernel) -> FailedCheck? {
  var before = 0
  if let failed = forkUntilFailure(&before, on: kernel) { return failed }
  var after = 0
  if let failed = forkToExhaustion(&after, on: kernel) { return failed }
  kernel.note(.forksAfterRecovery, after)
  if let failed = endHoldingChildren(after, on: kernel) { return failed }
  return after < before - before / 64 ? .notRecovered : nil
}
