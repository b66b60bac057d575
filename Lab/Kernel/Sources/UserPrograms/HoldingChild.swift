// The child that counts as a successful fork: it proves that its memory and its kernel stack are its own, then holds.

import SystemCallInterface

/// A child that writes its number to a page shared copy-on-write, and ends with it.
struct HoldingChild: ChildProgram {
  func prove<Kernel: SystemCalls>(on kernel: Kernel) -> Bool {
    let processID = UInt64(truncatingIfNeeded: kernel.processID())
    // The page still holds what the parent wrote: it is shared until this store.
    guard kernel.load(kernel.scratchPage) == parentMark else { return false }
    kernel.store(processID, at: kernel.scratchPage)
    guard kernel.load(kernel.scratchPage) == processID else { return false }
    // The store gave this process a copy: the rest of the page came with it.
    guard kernel.load(kernel.scratchPage + lastWord) == parentMark else { return false }
    return kernel.proveStack()
  }

  func finish<Kernel: SystemCalls>(on kernel: Kernel) -> Int {
    // Whatever all the others wrote in the meantime, this copy is this child's.
    Int(truncatingIfNeeded: kernel.load(kernel.scratchPage))
  }
}

/// What the parent's copy of the shared page holds; no process has this number.
var parentMark: UInt64 { 0x7061_7265_6e74_2121 }

/// The offset of a page's last word, which only parents write.
private var lastWord: UInt { 4096 - 8 }

/// Makes the page ready that ``HoldingChild`` looks at: the first word is to be overwritten, the last to be kept.
func markScratchPage<Kernel: SystemCalls>(on kernel: Kernel) {
  kernel.store(parentMark, at: kernel.scratchPage)
  kernel.store(parentMark, at: kernel.scratchPage + lastWord)
}

/// How one fork of a ``HoldingChild`` went.
enum HoldingFork {
  /// The child with this number ran and holds.
  case holding(Int)
  /// Fork gave an error, or the child was killed for want of memory.
  case outOfMemory
  /// Something that must not happen.
  case failed(FailedCheck)
}

/// Forks one child and waits until it holds or is dead; a dead one is taken off the list of children.
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

/// Releases all children and takes their statuses: each must be the child's own number.
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
