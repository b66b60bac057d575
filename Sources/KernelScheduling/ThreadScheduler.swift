// The scheduler, which chooses the thread that a CPU continues with: its parts, its initialization and its figures.
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
// On-CPU protocol. A thread that leaves a CPU stays in state `running`, and in no list, from the search for its successor
// until the CPU has switched: registers are saved before `next` is called, and `switching` changes the CPU's current
// thread and address space. Only then does it become ready, or a sleeper, or dead, under its queue's lock. So a CPU that finds
// a thread in a list may use its context, its stack and its address space, without checking or waiting for a flag. The
// release of the lock publishes the context to the CPU that takes the thread from the list. Before that lock is taken,
// ``Machine/completeAccesses()`` completes what a lock does not order: invalidations that the thread has begun on this CPU, and
// what the CPU itself has written into page-table entries.
//
// Wake-ups are never lost. One that finds its thread in any state but asleep is remembered, and the thread's next wait ends
// at once. So "check, then wait" needs no lock around both. A wait may end without a reason: callers check again.
//
// Locks, in the order in which they are taken; no two of one kind together:
//
//     shared   the threads that wait for a refill
//     queue    one CPU's lists; state, links and wake-up of the threads whose CPU it is
//     idle     the set of idle CPUs
//
// All are held for a few stores. None is held when the caller's code or the stack allocator is called, except to store
// the number of threads that wait.

import KernelMachine

/// Chooses the thread that each CPU runs.
///
/// One value serves all CPUs. It holds nothing mutable: its state lies in the memory that it was given, behind locks.
///
/// - `M`: the machine.
/// - `Events`: the receiver of its transitions; ``NoSchedulerEvents`` in a kernel.
public struct ThreadScheduler<M: Machine, Events: SchedulerEvents>: ~Copyable {
  /// The machine.
  public let machine: M
  /// The receiver of its transitions.
  public let events: Events
  let memory: UnsafeMutableRawPointer
  let cpuCount: Int

  /// Makes a scheduler without threads.
  ///
  /// - Parameters:
  ///   - machine: the machine; it has at most ``maximumCPUCount`` CPUs, which is checked.
  ///   - memory: ``byteCount(cpuCount:)`` bytes that stay as long as the scheduler is used, aligned to 64.
  ///   - events: the receiver of its transitions.
  ///   - cpuCount: how many CPUs of the machine can take part, from CPU 0 on; all, if not said.
  /// - Complexity: O(CPUs).
  public init(machine: M, memory: UnsafeMutableRawPointer, events: Events, cpuCount: Int? = nil) {
    let count = cpuCount ?? machine.cpuCount
    precondition(count <= Self.maximumCPUCount, "a scheduler has at most 64 CPUs")
    self.machine = machine
    self.events = events
    self.memory = memory
    self.cpuCount = count
    shared.initialize(to: SchedulerShared())
    idleCPUs.initialize(to: IdleCPUs())
    for cpu in 0..<count { queue(cpu).initialize(to: RunQueue()) }
  }

  /// Makes a scheduler without threads, in a block of page frames, which is never given back.
  ///
  /// - Parameters:
  ///   - machine: the machine; it has at most ``maximumCPUCount`` CPUs, which is checked.
  ///   - frames: the source of the block, of ``byteCount(cpuCount:)`` bytes rounded up to a power of two.
  ///   - events: the receiver of its transitions.
  /// - Throws: the frame source's refusal.
  public init<F: FrameSource & ~Copyable>(
    machine: M, frames: borrowing F, events: Events
  ) throws(FrameSourceError) {
    var order = 0
    while pageSize &<< order < Self.byteCount(cpuCount: machine.cpuCount) { order &+= 1 }
    let block = try frames.allocate(FrameRequest(order: order, purpose: .metadata, cleared: true))
    self.init(machine: machine, memory: machine.pointer(to: block.physicalAddress), events: events)
  }

  /// The most CPUs of a machine: a CPU's notifications are one word, with a bit for each CPU.
  public static var maximumCPUCount: Int { 64 }

  /// The memory that a scheduler of `cpuCount` CPUs needs, in bytes: 128, and 128 for each CPU.
  public static func byteCount(cpuCount: Int) -> Int {
    SchedulerLayout.queuesOffset &+ cpuCount &* RunQueue.stride
  }

  // MARK: Start of a CPU

  /// Lets the current CPU take part, with the thread that it runs now and the one that it runs when it idles.
  ///
  /// It also opens a CPU that ``closeCPU(_:)`` has closed; the CPU runs its idle thread then. Interrupts are off.
  ///
  /// - Parameters:
  ///   - current: the thread that makes this call; it may be `idle`.
  ///   - idle: a thread whose stack is mapped whole.
  public borrowing func startCPU(
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
    queue.pointee.isClosed = false
    queue.pointee.isIdle = current == idle
    queue.pointee.isQuiet = false
    noteIdle(cpu, current == idle)
    machine.unlock(lock(of: queue), restoring: state)
  }
}

/// The offsets of the parts of a scheduler's memory, in bytes.
enum SchedulerLayout {
  static var idleCPUsOffset: Int { 64 }
  static var queuesOffset: Int { 128 }
}

extension ThreadScheduler {
  // MARK: Figures

  /// The number of threads that wait for a refill, which may change at any time.
  public var refillWaiterCount: Int { shared.pointee.refills.count }

  /// The number of ready threads in a CPU's queue; 0 for a CPU that does not exist.
  public borrowing func readyCount(ofCPU cpu: Int) -> Int {
    isCPU(cpu) ? queue(cpu).pointee.ready.count : 0
  }

  /// Whether a CPU takes part and has nothing to do.
  public borrowing func isIdle(_ cpu: Int) -> Bool { isCPU(cpu) && queue(cpu).pointee.isIdle }

  /// Calls `body` with every thread that waits for a refill, in the order in which they will be served.
  ///
  /// It takes no lock: it is for reports, when nothing runs.
  public borrowing func visitRefillWaiters(_ body: (ScheduledThreadPointer) -> Void) {
    var next = shared.pointee.refills.first
    while let thread = next {
      body(thread)
      next = thread.pointee.next
    }
  }

  /// The name of the lock at an address, for reports of waits; `nil` if it is no lock of this scheduler.
  public borrowing func lockName(at address: UInt) -> StaticString? {
    if UInt(bitPattern: sharedLock) == address { return "threadsWaitingForFrames" }
    if UInt(bitPattern: idleLock) == address { return "idleSet" }
    for cpu in 0..<cpuCount where UInt(bitPattern: lock(of: queue(cpu))) == address { return "runQueues" }
    return nil
  }

  // MARK: Locations

  var shared: UnsafeMutablePointer<SchedulerShared> {
    memory.assumingMemoryBound(to: SchedulerShared.self)
  }

  var sharedLock: UnsafeMutablePointer<SpinLock> { memory.assumingMemoryBound(to: SpinLock.self) }

  /// The set of idle CPUs, in a cache line of its own.
  @inline(__always) var idleCPUs: UnsafeMutablePointer<IdleCPUs> {
    (memory + SchedulerLayout.idleCPUsOffset).assumingMemoryBound(to: IdleCPUs.self)
  }

  var idleLock: UnsafeMutablePointer<SpinLock> {
    (memory + SchedulerLayout.idleCPUsOffset).assumingMemoryBound(to: SpinLock.self)
  }

  @inline(__always) func isCPU(_ cpu: Int) -> Bool {
    UInt(bitPattern: cpu) < UInt(bitPattern: cpuCount)
  }

  /// The state of a CPU that exists.
  @inline(__always) func queue(_ cpu: Int) -> UnsafeMutablePointer<RunQueue> {
    (memory + (SchedulerLayout.queuesOffset &+ cpu &* RunQueue.stride)).assumingMemoryBound(to: RunQueue.self)
  }

  @inline(__always)
  func lock(of queue: UnsafeMutablePointer<RunQueue>) -> UnsafeMutablePointer<SpinLock> {
    UnsafeMutableRawPointer(queue).assumingMemoryBound(to: SpinLock.self)
  }

  /// Takes the lock of the queue that a thread belongs to.
  ///
  /// Between the two loads of its CPU the thread may have moved to another CPU and back, under that CPU's lock. So the second
  /// is a load-acquire: later reads of the thread are not older than its return.
  @inline(never) borrowing func lockQueue(
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

  @inline(__always)
  borrowing func note(
    _ kind: SchedulerEvent.Kind, _ cpu: Int, _ thread: ScheduledThreadPointer?, count: Int = 0
  ) {
    if Events.isListening {
      events.note(SchedulerEvent(kind, cpu: cpu, thread: thread?.pointee.id ?? 0, count: count))
    }
  }
}
