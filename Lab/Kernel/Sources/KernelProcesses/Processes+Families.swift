// Parents and children: exit, wait, hold and release.
//
// In a parent's list of children the dead ones come first, so that `wait` finds one in O(1). The lock guards the lists.

import KernelStacks
import SystemCallInterface

/// The result of ``Processes/reap(childOf:)``.
public enum ReapResult: Sendable {
  /// A child had ended, and has been reaped.
  case reaped(EndedChild)
  /// There are children, none of which has ended.
  case noneEnded
  /// There are no children.
  case noChildren
}

extension Processes {
  /// Ends a process: frees its address space and the memory that it has taken, and passes its children to the first process.
  ///
  /// The machine has left the process's address space on all CPUs (TTBR0_EL1 holds another root), and calls
  /// ``hasStopped(_:wake:)`` when nothing runs on the process's kernel stack any more.
  ///
  /// - Parameters:
  ///   - task: the process.
  ///   - status: the exit status for its parent.
  ///   - end: how it ended.
  ///   - wake: called with the first process, which may wait for children it has inherited; the lock is held, so that the
  ///     process stays alive meanwhile.
  public borrowing func exit(
    _ task: TaskPointer, status: Int, end: EndOfProcess = .exited, wake: (TaskPointer) -> Void = { _ in }
  ) {
    giveBackAll(from: &task.pointee.registry)
    withInterruptsOff { destroyAddressSpace(of: task) }
    locked {
      task.pointee.exitStatus = status
      task.pointee.end = end
      if end == .stackOverflow { state.pointee.figures.overflowed += 1 }
      task.pointee.state = .exiting
      let heir = state.pointee.first == task ? nil : state.pointee.first
      while let child = task.pointee.firstChild {
        removeChild(child, from: task)
        if let heir { addChild(child, to: heir) }
      }
      if let heir { wake(heir) }
    }
  }

  /// Makes an exiting process a zombie, which its parent may reap: nothing runs on its kernel stack any more.
  ///
  /// The task must not be touched after this: its parent may reap it at once on another CPU.
  ///
  /// - Parameters:
  ///   - task: the process.
  ///   - wake: called with its parent, or `nil` if it has none; the lock is held, so that the parent stays alive meanwhile.
  public borrowing func hasStopped(_ task: TaskPointer, wake: (TaskPointer?) -> Void = { _ in }) {
    locked {
      task.pointee.state = .zombie
      let parent = task.pointee.parent
      if let parent { moveToFront(task, of: parent) }
      wake(parent)
    }
  }

  /// Reaps a child that has ended: returns its status, and frees its stack, record and number.
  ///
  /// Does not wait. Not called on the child's stack.
  public borrowing func reap(childOf parent: TaskPointer) -> ReapResult {
    var stack: ThreadStack?
    let result: ReapResult = locked {
      guard let child = parent.pointee.firstChild else { return .noChildren }
      guard child.pointee.state == .zombie else { return .noneEnded }
      let ended = EndedChild(
        processID: Int(child.pointee.processID), status: child.pointee.exitStatus, end: child.pointee.end)
      stack = discardTask(child)
      return .reaped(ended)
    }
    freeStack(stack.take())
    return result
  }

  /// Whether a process can run or runs: one that neither holds nor has stopped.
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

  /// Reaps the first process, which is a zombie, and ends and frees all others.
  ///
  /// No process runs, or will run.
  ///
  /// - Returns: the number of processes besides the first.
  @discardableResult public borrowing func destroyAll() -> Int {
    var others = 0
    for processID in 1...processLimit {
      guard processCount > 0 else { break }
      guard let task = task(processID) else { continue }
      if task != first { others += 1 }
      withInterruptsOff { destroyAddressSpace(of: task) }
      var stack: ThreadStack?
      locked {
        while let child = task.pointee.firstChild { removeChild(child, from: task) }
        stack = discardTask(task)
      }
      freeStack(stack.take())
    }
    return others
  }

  /// The state of a child, for `awaitChild`.
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
  /// A forked child that holds has run.
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
  ///   - processID: the number of the child, or 0 for all.
  ///   - parent: the parent.
  ///   - resume: called with each, to enqueue it; the lock is held.
  /// - Returns: the number of children that held.
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

  /// Inserts a child, dead or alive, after the dead ones, so that those stay first.
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
