// Who runs next: a round-robin queue, switched at EL1h; and who waits until its stack can grow.
//
// All of it runs with interrupts off: in exception handlers, or in functions that say so. A task gives up the CPU by an
// SVC at EL1t, which saves its registers like any other exception from thread code.
#if hasFeature(Embedded)
  import CAArch64
  import KernelAssembly
  import KernelStacks
  import Scenarios

  /// Tasks in the order in which they came, linked by their records.
  private struct TaskQueue {
    private(set) var first: ThreadPointer?
    private var last: ThreadPointer?

    mutating func enqueue(_ task: ThreadPointer) {
      task.pointee.next = nil
      if let last { last.pointee.next = task } else { first = task }
      last = task
    }

    mutating func dequeue() -> ThreadPointer? {
      guard let task = first else { return nil }
      first = task.pointee.next
      if first == nil { last = nil }
      return task
    }
  }

  /// Tasks that are ready.
  nonisolated(unsafe) private var ready = TaskQueue()
  /// Tasks that are ready but for the frames that their stacks may need.
  nonisolated(unsafe) private var refills = TaskQueue()
  nonisolated(unsafe) private var switches = 0
  nonisolated(unsafe) private var emptyRoot: UInt = 0

  /// The scheduler of the one CPU.
  enum Scheduler {
    /// The physical address of an empty table: the user half of tasks that have none.
    static var emptyUserRoot: UInt {
      get { emptyRoot }
      set { emptyRoot = newValue }
    }

    /// How often another task was switched in.
    static var switchCount: Int { switches }

    /// Puts a task at the end of the queue.
    ///
    /// Interrupts are off.
    static func enqueue(_ task: ThreadPointer) {
      task.pointee.state = .ready
      ready.enqueue(task)
    }

    // Whether the task can grow its stack to the end on this CPU. The idle task's stack is mapped whole.
    private static func canGrow(_ task: ThreadPointer, mayTakeFrames: Bool) -> Bool {
      guard KernelObjects.hasProcesses else { return true }
      return KernelObjects.processes.pointee.stacks.prepareToRun(
        VirtualAddress(task.pointee.stackBase), mayTakeFrames: mayTakeFrames)
    }

    /// The next task that may run: one that waits for its reserve first, in the order in which they came.
    private static func choose() -> ThreadPointer? {
      if let first = refills.first, canGrow(first, mayTakeFrames: true) { return refills.dequeue() }
      while let task = ready.dequeue() {
        if canGrow(task, mayTakeFrames: refills.first == nil) { return task }
        refills.enqueue(task)
      }
      return nil
    }

    /// Reports that no task can run any more, because those that could wait for memory that nobody will give back.
    private static func reportStall() -> Never {
      var console = Console()
      console.write("stall: every task that could run waits for the frames that its stack may need\n")
      var next = refills.first
      while let task = next {
        console.write("  task ")
        console.write(task.pointee.id)
        console.write(" waits for ")
        console.write(
          KernelObjects.processes.pointee.stacks.missingPageCount(VirtualAddress(task.pointee.stackBase)))
        console.write(" frames\n")
        next = task.pointee.next
      }
      panic("no task can run, and no memory can be given back")
    }

    /// Chooses the task to go on with and makes it the current one.
    ///
    /// At EL1h.
    ///
    /// A current task that is ready goes to the end of the queue.
    static func next(after current: ThreadPointer) -> ThreadPointer {
      guard ca_cpu_number() == 0 else { return current }
      if current != Thread.idle, current.pointee.state == .ready { enqueue(current) }
      let chosen = choose() ?? Thread.idle
      // The idle task was chosen once before, and nobody has woken anybody since.
      if chosen == Thread.idle, current == Thread.idle, refills.first != nil { reportStall() }
      guard chosen != current else { return current }
      checkSwitch(from: current, to: chosen)
      let root = current.pointee.head.ttbr0
      if current.pointee.state == .dead { threadHasStopped(current) }
      switches &+= 1
      ca_write_tpidr_el1(UInt64(UInt(bitPattern: chosen)))
      if chosen.pointee.head.ttbr0 != root {
        ca_write_ttbr0_el1(chosen.pointee.head.ttbr0)
        ca_isb()
      }
      return chosen
    }

    // MARK: What thread code calls

    /// Lets other tasks run.
    static func yield() { kernel_enter_scheduler() }

    /// Stops the current task until ``wake(_:)``.
    ///
    /// Interrupts are off, so that no wake-up is lost between the decision to wait and the wait; they are off again when
    /// it returns.
    static func wait() {
      Thread.current.pointee.state = .waiting
      kernel_enter_scheduler()
    }

    /// Lets a waiting task run.
    ///
    /// Interrupts are off.
    static func wake(_ task: ThreadPointer) {
      if task.pointee.state == .waiting { enqueue(task) }
    }

    /// Ends the current task.
    ///
    /// Its stack and its record stay until its owner takes them back.
    static func exit() -> Never {
      _ = ca_disable_interrupts()
      Thread.current.pointee.state = .dead
      kernel_enter_scheduler()
      panic("a dead task was switched in")
    }

    /// Changes the current task's address space: its user half and ASID.
    ///
    /// Interrupts are off.
    static func use(userRoot: UInt64) {
      Thread.current.pointee.head.ttbr0 = userRoot
      ca_write_ttbr0_el1(userRoot)
      ca_isb()
    }

    // MARK: Start

    /// Makes the code that runs the boot task.
    static func start() {
      Thread.boot.pointee = Thread()
      Thread.boot.pointee.stackBase = kernel_boot_stack() + (hasEndMarkers ? UInt(StackEndMarker.byteCount) : 0)
      Thread.boot.pointee.head.stack_top = UInt64(kernel_boot_stack_top())
      Thread.boot.pointee.head.ttbr0 = UInt64(emptyRoot)
      placeEndMarker(Thread.boot.pointee)
    }
  }
#endif
