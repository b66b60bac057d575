// A thread of execution: the part of a task record that the scheduler and the exception vectors use.
import CAArch64
import KernelAssembly
import KernelStacks

typealias ThreadPointer = UnsafeMutablePointer<Thread>

/// The record of a task, as the scheduler and exception entry use it.
///
/// TPIDR_EL1 holds its address while the task runs.
///
///     +0x000  registers to resume with   written by exception entry, see frame_layout.h
///     +0x110  stack top                  read by exception entry
///     +0x118  TTBR0
///     +0x120  the scheduler's part: first the base of the stack, which exception entry reads
///     +0x158  sections of the allocators, whether it is dying
///     +0x160  (end: it fits the machine's part of a process's task record)
struct Thread {
  var head = kernel_task_head()
  /// The scheduler's part.
  ///
  /// Its number is a process's, from 1; kernel threads count down from 0.
  var scheduled = ScheduledThread(id: 0, stackBase: VirtualAddress(0), stackPointer: VirtualAddress(0))
  /// The number of nested allocator sections the task is in, which an overflow must not leave half-way.
  var allocatorSections: UInt16 = 0
  /// Whether an overflow has ended the task, which is about to exit.
  var isDying = false

  /// The lowest address of the stack.
  var stackBase: UInt {
    get { scheduled.stackBase.rawValue }
    set { scheduled.stackBase = VirtualAddress(newValue) }
  }

  /// The task's number.
  var id: Int {
    get { scheduled.id }
    set { scheduled.id = newValue }
  }

  /// Sets the stack pointer that the scheduler sees; all registers are saved in the record.
  ///
  /// The kernel stack of a thread at EL0 holds nothing outside its top page.
  mutating func noteContext() {
    let isUser = head.frame.spsr & 0xf == 0
    scheduled.savedStackPointer = VirtualAddress(UInt(isUser ? head.stack_top : head.frame.sp))
  }

  /// The current task.
  static var current: ThreadPointer {
    ThreadPointer(bitPattern: UInt(ca_read_tpidr_el1())).unsafelyUnwrapped
  }

  /// The record of the boot task.
  static var boot: ThreadPointer { ThreadPointer(bitPattern: kernel_boot_task()).unsafelyUnwrapped }

  /// The record of the current CPU's idle thread.
  ///
  /// Interrupts are off.
  static var idle: ThreadPointer {
    UnsafeMutableRawPointer(PerCPU.current).assumingMemoryBound(to: Thread.self)
  }

  /// Makes this the record of a CPU's idle thread.
  mutating func prepareIdle(stackBase: UInt, stackTop: UInt) {
    prepareThread(
      id: -1, stackBase: stackBase, stackTop: stackTop, body: { _ in BootableKernel.idle() }, argument: 0)
  }

  /// Makes this the record of a thread that calls `body(argument)` at EL1t, with interrupts on.
  mutating func prepareThread(
    id: Int, stackBase: UInt, stackTop: UInt, body: @convention(c) (UInt) -> Void, argument: UInt
  ) {
    self = Thread()
    self.id = id
    self.stackBase = stackBase
    head.stack_top = UInt64(stackTop)
    placeEndMarker(self)
    identifyStack(self, record: 0)
    head.ttbr0 = UInt64(Scheduler.emptyUserRoot)
    head.frame.sp = UInt64(stackTop)
    head.frame.elr = UInt64(kernel_start_thread())
    head.frame.spsr = 0x4  // EL1t
    head.frame.x.19 = UInt64(UInt(bitPattern: unsafeBitCast(body, to: Int.self)))
    head.frame.x.20 = UInt64(argument)
  }
}

extension UnsafeMutablePointer where Pointee == Thread {
  /// The scheduler's part of the record.
  var scheduled: ScheduledThreadPointer {
    (UnsafeMutableRawPointer(self) + Int(TASK_STACK_BASE)).assumingMemoryBound(to: ScheduledThread.self)
  }

  /// The record that a scheduler's part lies in.
  init(_ scheduled: ScheduledThreadPointer) {
    self = (UnsafeMutableRawPointer(scheduled) - Int(TASK_STACK_BASE)).assumingMemoryBound(to: Thread.self)
  }
}

/// Ends a thread whose body has returned.
@c func kernelThreadReturned() { Scheduler.exit() }
