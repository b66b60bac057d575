// The scheduler core on this machine. A switch takes place at EL1h.
//
// All of it runs with interrupts off, in exception handlers or in functions that say so. A task gives up the CPU by an SVC at
// EL1t, which saves its registers as any exception from thread code does. So when the core is called, the thread's context is
// saved, and a switch only has to change TPIDR_EL1, TTBR0_EL1 and, with it, TPIDR_EL0.
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

  /// The scheduling policy, the same on every machine.
  ///
  /// Made by ``startCore()``.
  static var core: UnsafeMutablePointer<Core> {
    UnsafeMutablePointer(bitPattern: kernel_kernel_scheduler()).unsafelyUnwrapped
  }

  /// The physical address of an empty table: the user half of tasks without a user address space.
  static var emptyUserRoot: UInt {
    get { emptyRoot }
    set { emptyRoot = newValue }
  }

  /// The number of switches to another task, on all CPUs.
  static var switchCount: Int {
    var sum = 0
    forEachCPU { _, cpu in sum &+= cpu.pointee.switches }
    return sum
  }

  // MARK: For exception handlers

  /// Chooses the task to continue and makes it the current one.
  ///
  /// At EL1h.
  static func next(after current: ThreadPointer) -> ThreadPointer {
    guard KernelObjects.hasProcesses else { return current }
    current.pointee.noteContext()
    takePagesBack()
    var chosen = advance(after: current)
    if let ended = core.pointee.takeDeparted() { threadHasStopped(ThreadPointer(ended)) }
    // Work for this CPU may have come since it last looked.
    while interruptOtherIdleCPUs(), chosen == Thread.idle { chosen = advance(after: chosen) }
    if chosen == Thread.idle, core.pointee.takeStall() { reportStall() }
    lendPages(to: chosen)
    return chosen
  }

  private static func advance(after current: ThreadPointer) -> ThreadPointer {
    ThreadPointer(
      core.pointee.next(after: current.scheduled, stacks: KernelObjects.stacks.pointee) { chosen in
        let record = ThreadPointer(chosen)
        let former = Thread.current
        checkSwitch(from: former, to: record)
        PerCPU.current.pointee.switches &+= 1
        ca_write_tpidr_el1(UInt64(UInt(bitPattern: record)))
        useAddressSpace(from: former, to: record)
      })
  }

  // Enters the user half with its current ASID. A thread without a process, or one that has set its own value, uses the value
  // in its record.
  //
  // Never inlined: litmus tests name it.
  @inline(never)
  private static func useAddressSpace(from former: ThreadPointer, to record: ThreadPointer) {
    let root = record.pointee.head.ttbr0
    guard record.pointee.id > 0, root != UInt64(emptyRoot) else {
      return walk(root, from: former, to: record)
    }
    KernelObjects.processes.pointee.enterAddressSpace(of: task(of: record)) {
      walk(root | UInt64($0.rawValue) << 48, from: former, to: record)
    }
  }

  @inline(__always)
  private static func walk(_ value: UInt64, from former: ThreadPointer, to record: ThreadPointer) {
    if value == ca_read_ttbr0_el1() { return }
    exchangeThreadPointers(from: former, to: record)
    ca_write_ttbr0_el1(value)
    ca_isb()
  }

  /// Saves TPIDR_EL0 of the process that is switched out, and loads that of the one that is switched in: besides the
  /// registers of a frame it is the only one that EL0 can write, and no process may see another's value.
  @inline(__always)
  private static func exchangeThreadPointers(from former: ThreadPointer, to record: ThreadPointer) {
    if former.pointee.id > 0 { task(of: former).pointee.threadPointer = ca_read_tpidr_el0() }
    if record.pointee.id > 0 { ca_write_tpidr_el0(task(of: record).pointee.threadPointer) }
  }

  /// Reports that no task can run, because the ready ones wait for memory that cannot be given back.
  private static func reportStall() -> Never {
    beginReport()
    writeStall(of: core.pointee, stacks: KernelObjects.stacks.pointee, to: Console())
    panic("no task can run, and no memory can be given back")
  }

  /// Interrupts the idle CPUs that have work, the current one included.
  ///
  /// Interrupts are off. The current CPU is one of them if its idle thread, or a handler above it, has made a thread ready:
  /// it takes the interrupt when they are on again, and calls ``next(after:)``.
  private static func interruptIdleCPUs() {
    if interruptOtherIdleCPUs() { InterprocessorInterrupt.reschedule.sendToThis() }
  }

  /// Interrupts the other idle CPUs that have work.
  ///
  /// Interrupts are off.
  ///
  /// - Returns: whether there is work for the current CPU.
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

  // MARK: For thread code

  /// Whether the current CPU, which is closed, has nothing left that other CPUs could need.
  ///
  /// Interrupts are off.
  static var mayStop: Bool { core.pointee.mayStop(AArch64().currentCPU) }

  /// Closes a CPU to tasks; see ``ThreadScheduler/closeCPU(_:)``.
  static func close(_ number: Int) -> Bool {
    let isClosed = core.pointee.closeCPU(number)
    let state = ca_disable_interrupts()
    interruptIdleCPUs()
    ca_restore_interrupts(state)
    return isClosed
  }

  /// Whether a CPU is stopping or has stopped.
  static func isClosed(_ number: Int) -> Bool { core.pointee.isClosed(number) }

  /// Makes a new task ready.
  ///
  /// Interrupts are off.
  static func enqueue(_ task: ThreadPointer) {
    core.pointee.enqueue(task.scheduled)
    interruptIdleCPUs()
  }

  /// Gives up the CPU; the current task stays ready.
  static func yield() { kernel_enter_scheduler() }

  /// Blocks the current task until ``wake(_:)``, or not at all if it was woken since its last wait.
  ///
  /// Interrupts are off; they are off again when it returns.
  static func wait() {
    Thread.current.pointee.scheduled.request = .wait
    kernel_enter_scheduler()
  }

  /// Makes a waiting task ready; if the task does not wait, its next wait ends at once.
  ///
  /// Interrupts are off.
  static func wake(_ task: ThreadPointer) {
    core.pointee.wake(task.scheduled)
    interruptIdleCPUs()
  }

  /// Makes a waiting task ready within ``next(after:)``, which then interrupts the idle CPUs.
  ///
  /// At EL1h.
  static func wakeDuringSwitch(_ task: ThreadPointer) { core.pointee.wake(task.scheduled) }

  /// Ends the current task.
  ///
  /// Its stack and record stay until its owner frees them.
  static func exit() -> Never {
    _ = ca_disable_interrupts()
    Thread.current.pointee.scheduled.request = .exit
    kernel_enter_scheduler()
    panic("a dead task was switched in")
  }

  /// Gives back memory that no task needs: the allocators' caches, and the pages below the stack pointers of waiting tasks.
  ///
  /// - Returns: the number of frames given back.
  static func reclaim(target: Int) -> Int {
    let given = core.pointee.reclaim(target: target, stacks: KernelObjects.stacks.pointee)
    let state = ca_disable_interrupts()
    interruptIdleCPUs()
    ca_restore_interrupts(state)
    return given
  }

  /// Runs code that takes no fault on its stack for `bytes` below the stack pointer, and keeps those pages while it waits.
  ///
  /// For code that is about to enter a long section with interrupts off, or that lets other threads write to its stack. Calls
  /// may nest.
  ///
  /// - Throws: ``ThreadStackError/beyondStack(requestedBytes:availableBytes:)``, without running the code.
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

  /// Makes the running boot code the boot task.
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

  /// Makes the scheduler core, and adds this CPU, the first, to it.
  ///
  /// Called before the first wait, with interrupts off and the idle thread prepared.
  static func startCore() {
    do {
      core.initialize(
        to: try Core(
          machine: AArch64(), frames: KernelObjects.frames.pointee,
          events: NoSchedulerEvents()))
    } catch {
      fail("scheduler", error)
    }
    startThisCPU(running: Thread.boot)
  }

  /// Adds the current CPU to the scheduler.
  ///
  /// Interrupts are off.
  ///
  /// - Parameter current: the task that runs on it now.
  static func startThisCPU(running current: ThreadPointer) {
    core.pointee.startCPU(running: current.scheduled, idle: Thread.idle.scheduled)
  }
}
