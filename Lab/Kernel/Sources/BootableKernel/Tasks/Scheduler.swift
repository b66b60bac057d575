// Who runs next: the scheduler core on this machine. A switch takes place at EL1h.
//
// All of it runs with interrupts off: in exception handlers, or in functions that say so. A task gives up the CPU by an
// SVC at EL1t, which saves its registers like any other exception from thread code. So when the core is asked, a thread's
// context is completely saved, and all that a switch has to change is TPIDR_EL1, TTBR0_EL1, and TPIDR_EL0 with it.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelAssembly
  import KernelProcesses
  import KernelStacks
  import Scenarios

  nonisolated(unsafe) private var emptyRoot: UInt = 0

  /// The scheduler.
  enum Scheduler {
    typealias Core = ThreadScheduler<AArch64, NoSchedulerEvents>

    /// The policy, which is the same on every machine.
    ///
    /// Made by ``startCore()``.
    static var core: UnsafeMutablePointer<Core> {
      UnsafeMutablePointer(bitPattern: kernel_kernel_scheduler()).unsafelyUnwrapped
    }

    /// The physical address of an empty table: the user half of tasks that have none.
    static var emptyUserRoot: UInt {
      get { emptyRoot }
      set { emptyRoot = newValue }
    }

    /// How often another task was switched in.
    static var switchCount: Int {
      var sum = 0
      forEachCPU { _, cpu in sum &+= cpu.pointee.switches }
      return sum
    }

    // MARK: What exception handlers call

    /// Chooses the task to go on with and makes it the current one.
    ///
    /// At EL1h.
    static func next(after current: ThreadPointer) -> ThreadPointer {
      guard KernelObjects.hasProcesses else { return current }
      current.pointee.noteContext()
      var chosen = advance(after: current)
      if let ended = core.pointee.takeDeparted() { threadHasStopped(ThreadPointer(ended)) }
      // There may be work for this CPU too, since it last looked.
      while interruptOtherIdleCPUs(), chosen == Thread.idle { chosen = advance(after: chosen) }
      if chosen == Thread.idle, core.pointee.takeStall() { reportStall() }
      return chosen
    }

    private static func advance(after current: ThreadPointer) -> ThreadPointer {
      ThreadPointer(
        core.pointee.next(after: current.scheduled, stacks: KernelObjects.processes.pointee.stacks) { chosen in
          let record = ThreadPointer(chosen)
          let former = Thread.current
          checkSwitch(from: former, to: record)
          PerCPU.current.pointee.switches &+= 1
          ca_write_tpidr_el1(UInt64(UInt(bitPattern: record)))
          useAddressSpace(from: former, to: record)
        })
    }

    // The user half, and the ASID that it has at the moment; that of a thread without one, and of one that has said itself
    // what it uses, is as its record says.
    private static func useAddressSpace(from former: ThreadPointer, to record: ThreadPointer) {
      let root = record.pointee.head.ttbr0
      guard record.pointee.id > 0, root != UInt64(emptyRoot) else {
        return walk(root, from: former, to: record)
      }
      KernelObjects.processes.pointee.enterAddressSpace(of: task(of: record)) {
        walk(root | UInt64($0.rawValue) << 48, from: former, to: record)
      }
    }

    private static func walk(_ value: UInt64, from former: ThreadPointer, to record: ThreadPointer) {
      if value == ca_read_ttbr0_el1() { return }
      exchangeThreadPointers(from: former, to: record)
      ca_write_ttbr0_el1(value)
      ca_isb()
    }

    /// Saves TPIDR_EL0 of the process that is left, and loads that of the one that is switched in: it is the one register besides
    /// those of a frame that EL0 can write, and none finds another's value there.
    @inline(__always)
    private static func exchangeThreadPointers(from former: ThreadPointer, to record: ThreadPointer) {
      if former.pointee.id > 0 { task(of: former).pointee.threadPointer = ca_read_tpidr_el0() }
      if record.pointee.id > 0 { ca_write_tpidr_el0(task(of: record).pointee.threadPointer) }
    }

    /// Reports that no task can run any more, because those that could wait for memory that nobody will give back.
    private static func reportStall() -> Never {
      beginReport()
      writeStall(of: core.pointee, stacks: KernelObjects.processes.pointee.stacks, to: Console())
      panic("no task can run, and no memory can be given back")
    }

    /// Interrupts the idle CPUs for which there is work.
    ///
    /// Interrupts are off. This CPU may be one of them, if its idle thread or a handler above it has made a thread ready: it
    /// takes the interrupt when they are on again, and goes through ``next(after:)``.
    private static func interruptIdleCPUs() {
      if interruptOtherIdleCPUs() { InterprocessorInterrupt.reschedule.sendToThis() }
    }

    /// Interrupts the idle CPUs for which there is work, but for this one.
    ///
    /// Interrupts are off.
    ///
    /// - Returns: whether there is work for this CPU.
    private static func interruptOtherIdleCPUs() -> Bool {
      var cpus = core.pointee.takeNotifications()
      let this: UInt64 = 1 << ca_cpu_number()
      let isWanted = cpus & this != 0
      cpus &= ~this
      while cpus != 0 {
        InterprocessorInterrupt.reschedule.send(to: cpus.trailingZeroBitCount)
        cpus &= cpus - 1
      }
      return isWanted
    }

    // MARK: What thread code calls

    /// Whether this CPU, which is closed, has nothing left that others could need.
    ///
    /// Interrupts are off.
    static var mayStop: Bool { core.pointee.mayStop(AArch64().currentCPU) }

    /// Lets no task run on a CPU any more; see ``ThreadScheduler/closeCPU(_:)``.
    static func close(_ number: Int) -> Bool {
      let isClosed = core.pointee.closeCPU(number)
      let state = ca_disable_interrupts()
      interruptIdleCPUs()
      ca_restore_interrupts(state)
      return isClosed
    }

    /// Whether a CPU is to stop, or has stopped.
    static func isClosed(_ number: Int) -> Bool { core.pointee.isClosed(number) }

    /// Lets a new task run.
    ///
    /// Interrupts are off.
    static func enqueue(_ task: ThreadPointer) {
      core.pointee.enqueue(task.scheduled)
      interruptIdleCPUs()
    }

    /// Lets other tasks run.
    static func yield() { kernel_enter_scheduler() }

    /// Stops the current task until ``wake(_:)``, or not at all if it was woken since its last wait.
    ///
    /// Interrupts are off; they are off again when it returns.
    static func wait() {
      Thread.current.pointee.scheduled.request = .wait
      kernel_enter_scheduler()
    }

    /// Lets a waiting task run; the next wait of one that does not wait ends at once.
    ///
    /// Interrupts are off.
    static func wake(_ task: ThreadPointer) {
      core.pointee.wake(task.scheduled)
      interruptIdleCPUs()
    }

    /// Lets a waiting task run, as ``wake(_:)`` does, in the middle of ``next(after:)``, which then tells the idle CPUs.
    ///
    /// At EL1h.
    static func wakeDuringSwitch(_ task: ThreadPointer) { core.pointee.wake(task.scheduled) }

    /// Ends the current task.
    ///
    /// Its stack and its record stay until its owner takes them back.
    static func exit() -> Never {
      _ = ca_disable_interrupts()
      Thread.current.pointee.scheduled.request = .exit
      kernel_enter_scheduler()
      panic("a dead task was switched in")
    }

    /// Gives back memory that no task needs: what allocators keep for speed, and what lies below the stack pointers of
    /// tasks that wait.
    ///
    /// - Returns: how many frames went back.
    static func reclaim(target: Int) -> Int {
      let given = core.pointee.reclaim(target: target, stacks: KernelObjects.processes.pointee.stacks)
      let state = ca_disable_interrupts()
      interruptIdleCPUs()
      ca_restore_interrupts(state)
      return given
    }

    /// Runs code that takes no fault on its own stack down to `bytes` below here, and none of whose pages are taken while
    /// it waits.
    ///
    /// It is for code that is about to enter a long section with interrupts off, or that lets others write to its stack.
    /// It may be nested.
    ///
    /// - Throws: ``ThreadStackError/beyondStack(requestedBytes:availableBytes:)``; the code has not run then.
    static func withEnsured<Result: ~Copyable>(
      _ bytes: Int, _ body: () -> Result
    ) throws(ThreadStackError) -> Result {
      let answer = kernel_ensure_stack(Int64(bytes))
      guard answer.failed == 0 else {
        throw .beyondStack(requestedBytes: bytes, availableBytes: Int(truncatingIfNeeded: answer.value))
      }
      defer { Thread.current.pointee.scheduled.floor = VirtualAddress(UInt(answer.value)) }
      return body()
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
      precondition(
        UnsafeRawPointer(Thread.boot).load(fromByteOffset: Int(TASK_STACK_BASE), as: UInt.self)
          == Thread.boot.pointee.stackBase)
    }

    /// Makes the scheduler core and lets this CPU, the first, take part.
    ///
    /// Before the first wait, with interrupts off; its idle thread is prepared.
    static func startCore() {
      do {
        core.initialize(
          to: try Core(
            machine: AArch64(), frames: KernelObjects.processes.pointee.stacks.frames,
            events: NoSchedulerEvents()))
      } catch {
        fail("scheduler", error)
      }
      startThisCPU(running: Thread.boot)
    }

    /// Lets this CPU take part.
    ///
    /// Interrupts are off.
    ///
    /// - Parameter current: the task that runs here now.
    static func startThisCPU(running current: ThreadPointer) {
      core.pointee.startCPU(running: current.scheduled, idle: Thread.idle.scheduled)
    }
  }
#endif
