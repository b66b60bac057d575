// Programs that fork until memory runs out.

/// Forks until a fork fails, with all children alive, and counts the children that ran.
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

/// Forks until a fork fails, with all children alive; then lets them end and checks each status.
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

/// Forks to exhaustion, lets all children end, and does both again: at least half as many forks must succeed.
///
/// A child with a growing stack takes 9 frames, or 6 once its stack has been shrunk, and the times of ticks decide how many
/// are. So the two counts may differ by a third. The kernel's own checks do not depend on ticks: memory is used up both times,
/// and no frame is lost.
func exhaustAndRecover<Kernel: SystemCalls>(on kernel: Kernel) -> FailedCheck? {
  var before = 0
  if let failed = forkUntilFailure(&before, on: kernel) { return failed }
  var after = 0
  if let failed = forkToExhaustion(&after, on: kernel) { return failed }
  kernel.note(.forksAfterRecovery, after)
  if let failed = endHoldingChildren(after, on: kernel) { return failed }
  return after < before / 2 ? .notRecovered : nil
}
