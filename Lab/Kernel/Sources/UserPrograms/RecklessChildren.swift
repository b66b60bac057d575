// A program whose children use their kernel stacks, and some of which overflow them.

import SeededRandom
import SystemCallInterface

/// A child that proves its kernel stack some times, and then overflows it or goes on.
struct RecklessChild: ChildProgram {
  let proofs: Int
  let overflows: Bool

  func prove<Kernel: SystemCalls>(on kernel: Kernel) -> Bool {
    for _ in 0..<proofs where !kernel.proveStack() { return false }
    if overflows { kernel.overflowStack() }
    return true
  }

  func finish<Kernel: SystemCalls>(on kernel: Kernel) -> Int {
    // Although other children have died, this stack is as usable as before.
    kernel.proveStack() ? kernel.processID() : failedProof
  }
}

/// Forks children, all alive together: the first, and a third of the others, overflow their kernel stacks and must die of it.
func overflowAmongOthers<Kernel: SystemCalls>(
  seed: UInt64, operations: Int, on kernel: Kernel
) -> FailedCheck? {
  var random = SplitMix64(seed: seed)
  var children = InlineArray<64, Int32>(repeating: 0)
  let count = operations < 64 ? operations : 64
  var overflowing = 0
  for index in 0..<count {
    let overflows = index == 0 || random.next(below: 3) == 0
    let child = kernel.fork(RecklessChild(proofs: 1 + random.next(below: 20), overflows: overflows))
    guard child > 0 else { return .forkFailed }
    children[index] = Int32(truncatingIfNeeded: child)
    if overflows { overflowing += 1 }
    kernel.note(.progress, index + 1)
  }
  for index in 0..<count { _ = kernel.awaitChild(Int(children[index])) }
  kernel.release(0)
  var overflowed = 0
  var verified = 0
  while let ended = kernel.wait() {
    switch ended.end {
    case .stackOverflow: overflowed += 1
    case .exited where ended.status == ended.processID: verified += 1
    default: return .wrongStatus
    }
  }
  kernel.note(.childrenOverflowed, overflowed)
  kernel.note(.childrenVerified, verified)
  if overflowed + verified != count { return .wrongChildCount }
  return overflowed == overflowing ? nil : .notKilled
}
