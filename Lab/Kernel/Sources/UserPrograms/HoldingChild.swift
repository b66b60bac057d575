// The child of a successful fork: it proves that its memory and its kernel stack are its own, then holds.

import SystemCallInterface

/// A child that writes its number to a page shared copy-on-write, and exits with the number it reads there later.
struct HoldingChild: ChildProgram {
  func prove<Kernel: SystemCalls>(on kernel: Kernel) -> Bool {
    let processID = UInt64(truncatingIfNeeded: kernel.processID())
    // The page has the parent's values: it is shared until this store.
    guard kernel.load(kernel.scratchPage) == parentMark else { return false }
    kernel.store(processID, at: kernel.scratchPage)
    guard kernel.load(kernel.scratchPage) == processID else { return false }
    // The store gave this process a copy, with the rest of the page.
    guard kernel.load(kernel.scratchPage + lastWord) == parentMark else { return false }
    return kernel.proveStack()
  }

  func finish<Kernel: SystemCalls>(on kernel: Kernel) -> Int {
    // Whatever the other processes have written meanwhile, this copy is this child's.
    Int(truncatingIfNeeded: kernel.load(kernel.scratchPage))
  }
}

/// The value in the parent's copy of the shared page; it is no process number.
var parentMark: UInt64 { 0x7061_7265_6e74_2121 }

/// The offset of a page's last word, which only parents write.
private var lastWord: UInt { 4096 - 8 }

/// Prepares the page for ``HoldingChild``: the first word is to be overwritten, the last to be kept.
func markScratchPage<Kernel: SystemCalls>(on kernel: Kernel) {
  kernel.store(parentMark, at: kernel.scratchPage)
  kernel.store(parentMark, at: kernel.scratchPage + lastWord)
}

/// The result of forking one ``HoldingChild``.
enum HoldingFork {
  /// The child with this number ran and holds.
  case holding(Int)
  /// Fork failed, or the child was killed for lack of memory.
  case outOfMemory
  /// A check failed.
  case failed(FailedCheck)
}

/// Forks one child and waits until it holds or is dead; reaps a dead one.
func forkHoldingChild<Kernel: SystemCalls>(on kernel: Kernel) -> HoldingFork {
  let child = kernel.fork(HoldingChild())
  if child < 0 { return .outOfMemory }
  if kernel.awaitChild(child) == .holding { return .holding(child) }
  // All older children hold, so the one that has ended is this one.
  guard let ended = kernel.wait(), ended.processID == child else { return .failed(.wrongChildCount) }
  if ended.end == .outOfMemory {
    kernel.note(.childrenOutOfMemory, 1)
    return .outOfMemory
  }
  return .failed(.childDidNotHold)
}

/// Releases and reaps all children: each status must be the child's own number.
func endHoldingChildren<Kernel: SystemCalls>(_ count: Int, on kernel: Kernel) -> FailedCheck? {
  kernel.release(0)
  var ended = 0
  while let child = kernel.wait() {
    guard child.end == .exited, child.status == child.processID else { return .wrongStatus }
    ended += 1
  }
  kernel.note(.childrenVerified, ended)
  guard ended == count else { return .wrongChildCount }
  return kernel.load(kernel.scratchPage) == parentMark ? nil : .parentPageChanged
}
