// The scheduler: which thread a CPU goes on with. What it consists of and how it is made.
//
// States, and what moves a thread from one to the next:
//
//                     enqueue           next                     next: request .exit
//            created ---------> ready <--------------> running ---------------------> dead
//                                ^  \                   ^   |
//                           wake |   \ reserve too      |   | next: request .wait
//                                |    v small           |   v
//                                |  waitingForRefill ---+  (a wake-up that came before: ready)
//                                |     served first         |
//                                +---------- waiting <------+
//                                               ^ |
//                        shrunk, or put back    | | claim
//                                               | v
//                                             claimed
//
// On-CPU protocol. A thread that leaves a CPU stays in state `running`, and in no list, from the moment at which its
// successor is being looked for until the CPU has switched: registers saved before `next` is called, and the CPU's
// notion of the current thread and of the address space changed by `switching`. Only then does it become ready, or a
// sleeper, or dead, under its queue's lock. So whoever finds a thread in a list may use its context, its stack and its
// address space; no flag needs to be looked at and nobody ever waits for one. The release of the lock publishes the
// context to whoever takes the thread from the list. What a lock does not order is complete before it is taken: invalidations
// that the thread has begun on this CPU, and what the CPU itself has written into page-table entries
// (``Machine/completeAccesses()``).
//
// Wake-ups are never lost. One that finds its thread anywhere but asleep is remembered, and the thread's next wait ends
// at once. So "look, then wait" needs no lock around both, and a wait may end without reason: callers look again.
//
// Locks, in the order in which they are taken; no two of one kind together:
//
//     shared   those that wait for a refill
//     queue    one CPU's lists; state, links and wake-up of the threads whose CPU it is
//
// Both are held for a few stores. Neither is held when the caller's code is called, or the stack allocator, but for the
// store of how many wait.

import KernelMachine

/// Chooses which thread each CPU runs.
///
/// One value serves all CPUs. It holds nothing mutable: what changes lies in the memory that it was given, behind locks.
///
/// - `M`: the machine.
/// - `Events`: who takes note of what it does; ``NoSchedulerEvents`` in a kernel.
public struct ThreadScheduler<M: Machine, Events: SchedulerEvents>: ~Copyable {
  /// The machine.
  public let machine: M
  /// Who takes note.
  public let events: Events
  @usableFromInline let memory: UnsafeMutableRawPointer
  @usableFromInline let cpuCount: Int

  /// Makes a scheduler without threads.
  ///
  /// - Parameters:
  ///   - machine: the machine; it has at most 64 CPUs.
  ///   - memory: ``byteCount(cpuCount:)`` bytes that stay as long as the scheduler is used, aligned to 64.
  ///   - events: who takes note of what it does.
  @inlinable public init(machine: M, memory: UnsafeMutableRawPointer, events: Events) {
    self.machine = machine
    self.events = events
    self.memory = memory
    cpuCount = machine.cpuCount
    shared.initialize(to: SchedulerShared())
    for cpu in 0..<cpuCount { queue(cpu).initialize(to: RunQueue()) }
  }

  /// Makes a scheduler without threads, in a block of page frames.
  ///
  /// - Returns: the scheduler; its block stays for good.
  /// - Throws: what the frame source said.
  @inlinable public init<F: FrameSource & ~Copyable>(
    machine: M, frames: borrowing F, events: Events
  ) throws(FrameSourceError) {
    var order = 0
    while pageSize &<< order < Self.byteCount(cpuCount: machine.cpuCount) { order &+= 1 }
    let block = try frames.allocate(FrameRequest(order: order, purpose: .metadata, cleared: true))
    self.init(machine: machine, memory: machine.pointer(to: block.physicalAddress), events: events)
  }

  /// How much memory a scheduler of so many CPUs needs.
  @inlinable public static func byteCount(cpuCount: Int) -> Int {
    SchedulerLayout.queuesOffset &+ cpuCount &* RunQueue.stride
  }

  // MARK: Start of a CPU

  /// Says that the current CPU takes part: what it runs at this moment, and what it runs when there is nothing to do.
  ///
  /// Also when it comes back after ``closeCPU(_:)``, on its idle thread then. Interrupts are off.
  ///
  /// - Parameters:
  ///   - current: the thread that makes this call; it may be `idle`.
  ///   - idle: a thread whose stack is mapped whole.
  @inlinable public borrowing func startCPU(
    running current: ScheduledThreadPointer, idle: ScheduledThreadPointer
  ) {
    let cpu = machine.currentCPU
    let queue = queue(cpu)
    let state = machine.lock(lock(of: queue))
    current.cpuNumber = Int32(truncatingIfNeeded: cpu)
    current.pointee.currentState = .running
    idle.cpuNumber = Int32(truncatingIfNeeded: cpu)
    idle.pointee.currentState = .running
    queue.pointee.idle = idle
    queue.pointee.isIdle = current == idle
    queue.pointee.isClosed = false
    machine.unlock(lock(of: queue), restoring: state)
  }
}

/// Where the parts of a scheduler's memory begin.
@usableFromInline enum SchedulerLayout {
  @inlinable static var queuesOffset: Int { 128 }
}

extension ThreadScheduler {
  // MARK: Figures

  /// How many threads wait for frames that their stacks may need.
  ///
  /// A look from outside: it may change at any time.
  @inlinable public var refillWaiterCount: Int { shared.pointee.refills.count }

  /// How many threads are in a CPU's queue; 0 for a CPU that does not exist.
  @inlinable public borrowing func readyCount(ofCPU cpu: Int) -> Int {
    isCPU(cpu) ? queue(cpu).pointee.ready.count : 0
  }

  /// Whether a CPU takes part and has nothing to do.
  @inlinable public borrowing func isIdle(_ cpu: Int) -> Bool { isCPU(cpu) && queue(cpu).pointee.isIdle }

  /// Calls `body` with every thread that waits for a refill, in the order in which they will be served.
  ///
  /// For reports, when nothing runs.
  @inlinable public borrowing func visitRefillWaiters(_ body: (ScheduledThreadPointer) -> Void) {
    var next = shared.pointee.refills.first
    while let thread = next {
      body(thread)
      next = thread.pointee.next
    }
  }

  // MARK: Where things are

  @inlinable var shared: UnsafeMutablePointer<SchedulerShared> {
    memory.assumingMemoryBound(to: SchedulerShared.self)
  }

  @inlinable var sharedLock: UnsafeMutablePointer<SpinLock> { memory.assumingMemoryBound(to: SpinLock.self) }

  @inlinable @inline(__always) func isCPU(_ cpu: Int) -> Bool {
    UInt(bitPattern: cpu) < UInt(bitPattern: cpuCount)
  }

  /// What a CPU that exists has.
  @inlinable @inline(__always) func queue(_ cpu: Int) -> UnsafeMutablePointer<RunQueue> {
    (memory + (SchedulerLayout.queuesOffset &+ cpu &* RunQueue.stride)).assumingMemoryBound(to: RunQueue.self)
  }

  @inlinable @inline(__always)
  func lock(of queue: UnsafeMutablePointer<RunQueue>) -> UnsafeMutablePointer<SpinLock> {
    UnsafeMutableRawPointer(queue).assumingMemoryBound(to: SpinLock.self)
  }

  /// Takes the lock of the queue that a thread belongs to.
  ///
  /// Between the two looks the thread may have left for another CPU and come back, under that CPU's lock. So the second look
  /// is a load-acquire: what is read of the thread from here on is not older than its coming back.
  @inlinable @inline(never) borrowing func lockQueue(
    of thread: ScheduledThreadPointer, _ state: inout InterruptState
  ) -> UnsafeMutablePointer<RunQueue> {
    while true {
      let cpu = thread.cpuNumber
      let queue = queue(Int(cpu))
      state = machine.lock(lock(of: queue))
      if thread.acquiredCPUNumber == cpu { return queue }
      machine.unlock(lock(of: queue), restoring: state)
    }
  }

  @inlinable @inline(__always)
  borrowing func note(
    _ kind: SchedulerEvent.Kind, _ cpu: Int, _ thread: ScheduledThreadPointer?, count: Int = 0
  ) {
    if Events.isListening {
      events.note(SchedulerEvent(kind, cpu: cpu, thread: thread?.pointee.id ?? 0, count: count))
    }
  }
}
