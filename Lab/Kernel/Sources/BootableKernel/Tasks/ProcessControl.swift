// Processes as threads: how they start, fork, wait for each other and end. `Processes` manages their memory.
//
// A process's task record begins with its `Thread`: TPIDR_EL1 holds the address of both.
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios
import SystemCallInterface
import UserPrograms

/// The thread of a process.
func thread(of task: TaskPointer) -> ThreadPointer {
  UnsafeMutableRawPointer(task).assumingMemoryBound(to: Thread.self)
}

/// The task record of a process's thread.
func task(of thread: ThreadPointer) -> TaskPointer {
  UnsafeMutableRawPointer(thread).assumingMemoryBound(to: TaskRecord.self)
}

/// The process whose system call this is.
func currentTask() -> TaskPointer { task(of: Thread.current) }

/// Prepares the thread of a new process, which starts at EL0 with the registers in `frame`.
func prepareProcess(_ task: TaskPointer, _ frame: kernel_frame) {
  var thread = Thread()
  thread.head.frame = frame
  thread.head.ttbr0 = UInt64(task.pointee.addressSpaceRoot.rawValue)
  thread.id = Int(task.pointee.processID)
  if let bounds = task.pointee.stack?.usableRange {
    thread.head.stack_top = UInt64(bounds.top.rawValue)
    thread.stackBase = bounds.base.rawValue
    placeEndMarker(thread)
    identifyStack(thread, record: UInt(bitPattern: task))
  }
  BootableKernel.thread(of: task).initialize(to: thread)
}

/// Makes a new process ready.
func startProcess(_ task: TaskPointer) {
  let state = ca_disable_interrupts()
  task.pointee.state = .runnable
  Scheduler.enqueue(thread(of: task))
  ca_restore_interrupts(state)
}

/// Ends the current process, in its own thread.
func endProcess(status: Int, end: EndOfProcess) -> Never {
  let task = currentTask()
  let state = ca_disable_interrupts()
  Scheduler.use(userRoot: UInt64(Scheduler.emptyUserRoot))
  ca_restore_interrupts(state)
  // The first process may be waiting for a child: it has inherited this one's, including ended ones.
  inAllocatorSection {
    KernelObjects.processes.pointee.exit(task, status: status, end: end) {
      Scheduler.wake(BootableKernel.thread(of: $0))
    }
  }
  Scheduler.exit()
}

/// Frees or reports a thread that has left its CPU for good; called by ``Scheduler/next(after:)``.
func threadHasStopped(_ thread: ThreadPointer) {
  if thread.pointee.isManaged {
    // This frees the record.
    if KernelObjects.processes.pointee.threadHasStopped(kernelThread(of: thread)) {
      Scheduler.wakeDuringSwitch(Thread.boot)
    }
    return
  }
  guard thread.pointee.id > 0 else { return }
  KernelObjects.processes.pointee.hasStopped(task(of: thread)) { parent in
    Scheduler.wakeDuringSwitch(parent.map { BootableKernel.thread(of: $0) } ?? Thread.boot)
  }
}
