// Kernel threads: how they begin, sleep, wake and end. `Processes` manages their memory.
//
// A thread's record begins with its `Thread`: TPIDR_EL1 holds the address of both.
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios

extension Thread {
  /// The highest number of a thread that `Processes` manages, whose numbers go down; higher ones are of static records.
  static var firstManagedID: Int { -16 }

  /// Whether `Processes` manages the record of this kernel thread.
  var isManaged: Bool { id <= Self.firstManagedID }
}

/// The scheduler's record of a kernel thread.
func thread(of thread: KernelThreadPointer) -> ThreadPointer {
  UnsafeMutableRawPointer(thread).assumingMemoryBound(to: Thread.self)
}

/// The kernel thread that a scheduler's record belongs to.
func kernelThread(of thread: ThreadPointer) -> KernelThreadPointer {
  UnsafeMutableRawPointer(thread).assumingMemoryBound(to: KernelThread.self)
}

/// Prepares a new thread, which calls `body` with the address of its record when it is first woken.
func prepareKernelThread(_ thread: KernelThreadPointer, body: @convention(c) (UInt) -> Void) {
  guard let bounds = thread.pointee.stack?.usableRange, let info = thread.pointee.stack?.threadInfo.pointer
  else { return }
  var record = Thread()
  record.prepareThread(
    id: Thread.firstManagedID - Int(thread.pointee.number), stackBase: bounds.base.rawValue,
    stackTop: bounds.top.rawValue, body: body, argument: UInt(bitPattern: thread))
  BootableKernel.thread(of: thread).initialize(to: record)
  // thread_info holds the address of the record, for code that has only a stack pointer.
  info.assumingMemoryBound(to: UInt.self).pointee = UInt(bitPattern: thread)
}

/// Makes a thread ready that has not begun, or sleeps.
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
  // Wake-ups may be spurious.
  while thread.pointee.state == .asleep { Scheduler.wait() }
  ca_restore_interrupts(state)
}
