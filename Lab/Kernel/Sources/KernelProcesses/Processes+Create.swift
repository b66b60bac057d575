// Creation of processes: the first one from an image, all others by fork.

import KernelStacks

extension Processes {
  /// Makes the first process from a program.
  ///
  /// It is to start at the image's entry with the image's stack.
  ///
  /// - Throws: the step that failed. All partial work has been undone.
  public borrowing func createFirst(_ image: ProgramImage) throws(ForkError) -> TaskPointer {
    precondition(state.pointee.first == nil, "there is a first process already")
    return try withInterruptsOff { () throws(ForkError) in
      let task = try makeTask()
      do throws(ForkError) {
        try loadImage(image, into: task)
        try list(task, childOf: nil)
      } catch {
        discardUnlisted(task)
        throw error
      }
      return task
    }
  }

  /// Makes a child of `parent`: kernel stack first, then record, number, and an address space that shares every page
  /// copy-on-write, except the live part of the user stack, which is copied.
  ///
  /// Parent and child first write to the live part of the stack, from the page of `userStackPointer` up. Copying it spares both
  /// a fault, and a parent whose fork succeeded never dies for lack of a frame for its own stack.
  ///
  /// The child's `context` is a copy of the parent's, its state ``TaskState/created``.
  ///
  /// - Parameters:
  ///   - parent: the process that forks; its address space may be in use on the current CPU.
  ///   - userStackPointer: the parent's SP_EL0.
  ///   - reclaims: whether to reclaim caches and try again before the fork fails.
  ///   - shrinking: called when reclaiming did not suffice: frees memory of other kinds, and returns the number of frames.
  /// - Throws: the step that failed, with what it asked for and what was there. All partial work has been undone; the parent's
  ///   address space is unchanged.
  public borrowing func fork(
    _ parent: TaskPointer, userStackPointer: VirtualAddress, reclaims: Bool = true,
    shrinking: () -> Int = { 0 }
  ) throws(ForkError) -> TaskPointer {
    let freeBefore = frames.freeFrames
    locked { state.pointee.figures.attempted += 1 }
    var hasReclaimed = !reclaims
    var hasShrunk = !reclaims
    while true {
      do {
        let child = try forkOnce(parent, userStackPointer)
        noteFork(of: child, freeBefore: freeBefore)
        return child
      } catch {
        var given = 0
        if !hasReclaimed {
          hasReclaimed = true
          given = reclaim()
        }
        if given == 0, !hasShrunk {
          hasShrunk = true
          given = shrinking()
        }
        if given > 0 { continue }
        // The failed attempt may have filled a cache.
        if reclaims { reclaim() }
        noteFailure(.fork(error))
        throw error
      }
    }
  }

  private borrowing func forkOnce(
    _ parent: TaskPointer, _ userStackPointer: VirtualAddress
  ) throws(ForkError) -> TaskPointer {
    try withInterruptsOff { () throws(ForkError) in
      let child = try makeTask()
      do throws(ForkError) {
        // Steps that can fail come first; sharing, which changes the parent, cannot.
        try buildTables(of: child, like: parent)
        try copyLiveStack(of: parent, to: child, from: userStackPointer)
        try list(child, childOf: parent)
      } catch {
        discardUnlisted(child)
        throw error
      }
      shareRemainingPages(of: parent, with: child)
      child.pointee.context = parent.pointee.context
      child.pointee.threadPointer = parent.pointee.threadPointer
      return child
    }
  }

  /// Makes a task with a kernel stack and a root table, but without a number: nobody else finds it.
  private borrowing func makeTask() throws(ForkError) -> TaskPointer {
    // ``list(_:childOf:)`` decides; this spares the work for what would be undone.
    guard processCount < processLimit else { throw .tooManyProcesses(limit: processLimit) }
    // The stack comes first: while threads wait for frames it is refused, before anything else is taken.
    var stack: ThreadStack?
    do { stack = try stacks.allocate(node: nil) } catch { throw .stack(error) }
    let task: TaskPointer
    do {
      task = try locked { () throws(FrameSourceError) in
        try state.pointee.records.allocate(machine: machine, frames: frames)
      }
    } catch {
      freeStack(stack.take())
      throw .taskRecord(error)
    }
    task.pointee.stack = stack.take()
    do {
      task.pointee.addressSpaceRoot = try TranslationTables(userSpaceOf: machine, frames: frames).root
    } catch {
      discardUnlisted(task)
      throw .addressSpace(error)
    }
    return task
  }

  /// Gives a task a number, and a place in its parent's list of children; without a parent, it is the first process.
  private borrowing func list(_ task: TaskPointer, childOf parent: TaskPointer?) throws(ForkError) {
    try locked { () throws(ForkError) in
      guard let processID = unusedProcessID() else { throw .tooManyProcesses(limit: processLimit) }
      task.pointee.processID = UInt16(processID)
      tableEntry(processID).pointee = UInt(bitPattern: task)
      state.pointee.lastProcessID = processID
      state.pointee.processCount += 1
      if let parent { addChild(task, to: parent) } else { state.pointee.first = task }
    }
  }

  /// Undoes ``makeTask()``, and what has been added to the address space since.
  private borrowing func discardUnlisted(_ task: TaskPointer) {
    destroyAddressSpace(of: task)
    freeStack(task.pointee.stack.take())
    locked { state.pointee.records.free(task, machine: machine, frames: frames) }
  }

  /// The next free process number after the last one handed out, in a cycle; `nil` if all are in use.
  ///
  /// The lock is held.
  private borrowing func unusedProcessID() -> Int? {
    guard state.pointee.processCount < processLimit else { return nil }
    var candidate = state.pointee.lastProcessID
    for _ in 0..<processLimit {
      candidate = candidate == processLimit ? 1 : candidate + 1
      if tableEntry(candidate).pointee == 0 { return candidate }
    }
    return nil
  }

  /// Frees a task's number and record; its address space is already destroyed.
  ///
  /// The lock is held.
  ///
  /// - Returns: its stack, which is freed without the lock.
  borrowing func discardTask(_ task: TaskPointer) -> ThreadStack? {
    if let parent = task.pointee.parent { removeChild(task, from: parent) }
    if state.pointee.first == task { state.pointee.first = nil }
    tableEntry(Int(task.pointee.processID)).pointee = 0
    state.pointee.processCount -= 1
    let stack = task.pointee.stack.take()
    state.pointee.records.free(task, machine: machine, frames: frames)
    return stack
  }
  /// Frees the stack of a task, if it has one.
  @inline(__always) borrowing func freeStack(_ stack: consuming ThreadStack?) {
    if let stack { stacks.free(stack) }
  }
}
