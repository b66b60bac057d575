// Threads of the kernel as objects that come and go: how they begin, sleep and end. Their memory is the business of
// Processes.
//
// A thread's record begins with its `Thread`: TPIDR_EL1 names both.
#if hasFeature(Embedded)
  import CAArch64
  import KernelAssembly
  import KernelProcesses
  import KernelStacks
  import Scenarios

  extension Thread {
    /// The numbers of threads that `Processes` keeps go down from here; those above are of static records.
    static var firstManagedID: Int { -16 }

    /// Whether `Processes` keeps the record of this thread of the kernel.
    var isManaged: Bool { id <= Self.firstManagedID }
  }

  /// The scheduler's part of a thread of the kernel.
  func thread(of thread: KernelThreadPointer) -> ThreadPointer {
    UnsafeMutableRawPointer(thread).assumingMemoryBound(to: Thread.self)
  }

  /// The thread of the kernel that the scheduler's record belongs to.
  func kernelThread(of thread: ThreadPointer) -> KernelThreadPointer {
    UnsafeMutableRawPointer(thread).assumingMemoryBound(to: KernelThread.self)
  }

  /// Fills in the registers of a new thread, which calls `body` with the address of its record when it is first woken.
  func prepareKernelThread(_ thread: KernelThreadPointer, body: @convention(c) (UInt) -> Void) {
    guard let bounds = thread.pointee.stack?.usableRange, let info = thread.pointee.stack?.threadInfo.pointer
    else { return }
    var record = Thread()
    record.prepareThread(
      id: Thread.firstManagedID - Int(thread.pointee.number), stackBase: bounds.base.rawValue,
      stackTop: bounds.top.rawValue, body: body, argument: UInt(bitPattern: thread))
    BootableKernel.thread(of: thread).initialize(to: record)
    // thread_info names the task: what code that has only a stack pointer finds.
    info.storeBytes(of: UInt(bitPattern: thread), as: UInt.self)
  }

  /// Lets a thread run that has not begun, or sleeps.
  func wakeKernelThread(_ thread: KernelThreadPointer) {
    let state = ca_disable_interrupts()
    if thread.pointee.wakeCount == 1 {
      Scheduler.enqueue(BootableKernel.thread(of: thread))
    } else {
      Scheduler.wake(BootableKernel.thread(of: thread))
    }
    ca_restore_interrupts(state)
  }

  /// Puts the current thread to sleep until it is woken.
  func sleepKernelThread(_ thread: KernelThreadPointer) {
    let state = ca_disable_interrupts()
    if KernelObjects.processes.pointee.threadSleeps(thread) { Scheduler.wake(Thread.boot) }
    // A wait may end without a reason.
    while thread.pointee.state == .asleep { Scheduler.wait() }
    ca_restore_interrupts(state)
  }
#endif
