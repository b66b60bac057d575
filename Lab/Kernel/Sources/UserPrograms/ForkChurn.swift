// A program that forks and lets children end in random order.

import SeededRandom
import SystemCallInterface

/// Forks and ends children at random, `operations` times in all; none is left at the end.
func forkChurn<Kernel: SystemCalls>(seed: UInt64, operations: Int, on kernel: Kernel) -> FailedCheck? {
  let capacity = 48
  // Small integers: the array lies on the stack, which is one page.
  var children = InlineArray<48, Int32>(repeating: 0)
  var count = 0
  var random = SplitMix64(seed: seed)
  var forked = 0
  var ended = 0
  markScratchPage(on: kernel)

  for operation in 0..<operations {
    if operation % 64 == 0 { kernel.note(.progress, operation) }
    // The fewer children, the likelier a fork: their number varies over the whole range.
    if count < capacity, random.next(below: capacity) >= count {
      switch forkHoldingChild(on: kernel) {
      case .holding(let child):
        children[count] = Int32(truncatingIfNeeded: child)
        count += 1
        forked += 1
      case .outOfMemory: break  // legal: memory may be small; the next operations go on
      case .failed(let check): return check
      }
    } else if count > 0 {
      let chosen = random.next(below: count)
      let child = Int(children[chosen])
      kernel.release(child)
      guard let end = kernel.wait(), end.processID == child else { return .wrongChildCount }
      guard end.end == .exited, end.status == child else { return .wrongStatus }
      count -= 1
      children[chosen] = children[count]
      ended += 1
    }
  }
  kernel.note(.progress, operations)
  kernel.note(.forksAttempted, forked)
  kernel.note(.forksSucceeded, forked)
  if forked == 0 && operations > 0 { return .forkFailed }
  return endHoldingChildren(count, on: kernel)
}
