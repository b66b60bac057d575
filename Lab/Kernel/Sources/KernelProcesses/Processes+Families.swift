// Parents and children: exit, wait, hold and release.
//
// A parent's list of children has the dead ones in front, so that `wait` finds one in O(1).

import KernelStacks
import SystemCallInterface

/// What `wait` finds.
public enum ReapResult: Sendable {
  /// A child had ended; it is gone now.
  case reaped(EndedChild)
  /// There are children, and none has ended.
  case noneEnded
  /// There is no child.
  case noChildren
}

extension Processes where F: ~Copyable {
  /// Ends a process: its address space and what it has taken are given back, and its children become the first
  /// process's.
  ///
  /// The machine has left the process's address space on all CPUs (TTBR0_EL1 holds another root), and calls
  /// ``hasStopped(_:wake:)`` when nothing runs on the process's kernel stack any more.
  ///
  /// - Parameters:
  ///   - task: the process.
  ///   - status: what its parent is told.
  ///   - end: how it ended.
  ///   - wake: called with the first process if that has inherited children, which it may be waiting for; the lock is
  ///     held, so that the process stays one meanwhile.
  public borrowing func exit(
    _ task: TaskPointer, status: Int, end: EndOfProcess = .exited, wake: (TaskPointer) -> Void = { _ in }
  ) {
    giveBackAll(from: &task.pointee.registry)
    locked {
      destroyAddressSpace(of: task)
      task.pointee.exitStatus = status
      task.pointee.end = end
      if end == .stackOverflow { state.pointee.figures.overflown += 1 }
      task.pointee.state = .exiting
      let heir = state.pointee.first == task ? nil : state.pointee.first
      while let child = task.pointee.firstChild {
        removeChild(child, from: task)
        if let heir { addChild(child, to: heir) }
      }
      if let heir { wake(heir) }
    }
  }

  /// Says that nothing runs on an exiting process's kernel stack any more: its parent may reap it.
  ///
  /// The task must not be touched any more after this: the parent may do so at once, on another CPU.
  ///
  /// - Parameters:
  ///   - task: the process.
  ///   - wake: called with its parent, or `nil` where there is none; the lock is held, so that the parent stays one.
  public borrowing func hasStopped(_ task: TaskPointer, wake: (TaskPointer?) -> Void = { _ in }) {
    locked {
      task.pointee.state = .zombie
      let parent = task.pointee.parent
      if let parent { moveToFront(task, of: parent) }
      wake(parent)
    }
  }

  /// Takes the status of a child that has ended, and gives back its stack, record and number.
  ///
  /// Does not wait.
  ///
  /// Not called on the child's stack.
  public borrowing func reap(childOf parent: TaskPointer) -> ReapResult {
    locked {
      guard let child = parent.pointee.firstChild else { return .noChildren }
      guard child.pointee.state == .zombie else { return .noneEnded }
      let ended = EndedChild(
        processID: Int(child.pointee.processID), status: child.pointee.exitStatus, end: child.pointee.end)
      discardTask(child)
      return .reaped(ended)
    }
  }

  /// Whether a process can run, or does: one that neither holds nor has stopped.
  ///
  /// - Complexity: O(``processLimit``) if there are several processes.
  public borrowing func canAnyRun() -> Bool {
    locked {
      var left = processCount == 1 && first?.pointee.state == .zombie ? 0 : processCount
      for processID in 1...processLimit where left > 0 {
        guard let task = task(processID) else { continue }
        left -= 1
        if task.pointee.state != .holding && task.pointee.state != .zombie { return true }
      }
      return false
    }
  }

  /// Gives back the first process, which is a zombie, and ends and gives back all others that are left.
  ///
  /// Nothing runs in any process, and nothing will.
  ///
  /// - Returns: how many there were besides the first.
  @discardableResult public borrowing func destroyAll() -> Int {
    var others = 0
    for processID in 1...processLimit {
      guard processCount > 0 else { break }
      guard let task = task(processID) else { continue }
      if task != first { others += 1 }
      locked {
        destroyAddressSpace(of: task)
        while let child = task.pointee.firstChild { removeChild(child, from: task) }
        discardTask(task)
      }
    }
    return others
  }

  /// What a child is doing, for `awaitChild`.
  public borrowing func childState(_ processID: Int, of parent: TaskPointer) -> ChildState {
    locked {
      guard let child = task(processID), child.pointee.parent == parent else { return .none }
      return switch child.pointee.state {
      case .holding: .holding
      case .zombie: .dead
      default: .running
      }
    }
  }

  /// Makes a process hold; the machine stops running it.
  ///
  /// A forked child that comes here has run.
  ///
  /// - Parameters:
  ///   - task: the process.
  ///   - wake: called with its parent, which may be waiting for this; the lock is held.
  public borrowing func hold(_ task: TaskPointer, wake: (TaskPointer) -> Void = { _ in }) {
    locked {
      task.pointee.state = .holding
      noteHolding(task)
      if let parent = task.pointee.parent { wake(parent) }
    }
  }

  /// Makes holding children runnable again.
  ///
  /// - Parameters:
  ///   - processID: which child, or 0 for all.
  ///   - parent: whose.
  ///   - resume: called with each, for the machine's run queue; the lock is held.
  /// - Returns: how many were holding.
  @discardableResult public borrowing func release(
    _ processID: Int, of parent: TaskPointer, resume: (TaskPointer) -> Void
  ) -> Int {
    locked {
      var count = 0
      var next = parent.pointee.firstChild
      while let child = next {
        next = child.pointee.nextSibling
        guard child.pointee.state == .holding else { continue }
        if processID != 0 && Int(child.pointee.processID) != processID { continue }
        child.pointee.state = .runnable
        resume(child)
        count += 1
      }
      return count
    }
  }

  // MARK: The list of children. The lock is held.

  /// Puts a child, dead or alive, after the dead ones, which keeps these in front.
  borrowing func addChild(_ child: TaskPointer, to parent: TaskPointer) {
    var previous: TaskPointer?
    var next = parent.pointee.firstChild
    while let sibling = next, sibling.pointee.state == .zombie {
      previous = sibling
      next = sibling.pointee.nextSibling
    }
    child.pointee.parent = parent
    child.pointee.previousSibling = previous
    child.pointee.nextSibling = next
    if let previous { previous.pointee.nextSibling = child } else { parent.pointee.firstChild = child }
    if let next { next.pointee.previousSibling = child }
    parent.pointee.childCount += 1
  }

  borrowing func removeChild(_ child: TaskPointer, from parent: TaskPointer) {
    let (previous, next) = (child.pointee.previousSibling, child.pointee.nextSibling)
    if let previous { previous.pointee.nextSibling = next } else { parent.pointee.firstChild = next }
    if let next { next.pointee.previousSibling = previous }
    child.pointee.previousSibling = nil
    child.pointee.nextSibling = nil
    child.pointee.parent = nil
    parent.pointee.childCount -= 1
  }

  private borrowing func moveToFront(_ child: TaskPointer, of parent: TaskPointer) {
    removeChild(child, from: parent)
    let first = parent.pointee.firstChild
    child.pointee.parent = parent
    child.pointee.nextSibling = first
    if let first { first.pointee.previousSibling = child }
    parent.pointee.firstChild = child
    parent.pointee.childCount += 1
  }
}
