// Who runs next: a round-robin queue, switched at EL1h.
//
// All of it runs with interrupts off: in exception handlers, or in functions that say so. A task gives up the CPU by an
// SVC at EL1t, which saves its registers like any other exception from thread code.
#if hasFeature(Embedded)
  import CAArch64
  import KernelAssembly
  import KernelStacks

  nonisolated(unsafe) private var firstReady: ThreadPointer?
  nonisolated(unsafe) private var lastReady: ThreadPointer?
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
      task.pointee.next = nil
      if let last = lastReady {
        last.pointee.next = task
      } else {
        firstReady = task
      }
      lastReady = task
    }

    private static func dequeue() -> ThreadPointer? {
      guard let first = firstReady else { return nil }
      firstReady = first.pointee.next
      if firstReady == nil { lastReady = nil }
      return first
    }

    /// Chooses the task to go on with and makes it the current one.
    ///
    /// At EL1h.
    ///
    /// A current task that is ready goes to the end of the queue.
    static func next(after current: ThreadPointer) -> ThreadPointer {
      if current != Thread.idle, current.pointee.state == .ready { enqueue(current) }
      let chosen = dequeue() ?? Thread.idle
      guard chosen != current else { return current }
      if current.pointee.state == .dead { threadHasStopped(current) }
      switches &+= 1
      ca_write_tpidr_el1(UInt64(UInt(bitPattern: chosen)))
      if chosen.pointee.head.ttbr0 != current.pointee.head.ttbr0 {
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
      Thread.boot.pointee.stackBase = kernel_boot_stack()
      Thread.boot.pointee.head.stack_top = UInt64(kernel_boot_stack_top())
      Thread.boot.pointee.head.ttbr0 = UInt64(emptyRoot)
    }

    /// Prepares the task that runs when no other can.
    ///
    /// Before the first wait, with interrupts off.
    static func prepareIdle(stackBase: UInt, stackTop: UInt) {
      Thread.idle.pointee.prepareThread(
        id: -1, stackBase: stackBase, stackTop: stackTop,
        body: { _ in while true { ca_wait_for_interrupt() } }, argument: 0)
    }
  }
#endif
