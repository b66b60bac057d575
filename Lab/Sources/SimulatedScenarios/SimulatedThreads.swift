// Kernel threads on the simulated machine: the kernel's own scheduler chooses the thread of each simulated CPU. Programs run
// action by action, and a thread may be preempted after any of them.

import KernelProcesses
import KernelStacks
import Scenarios
import SeededRandom
import SimulatedMachine

/// The threads of a simulated kernel, and the CPUs that run them.
///
/// Only one CPU executes at a time.
final class SimulatedThreads: @unchecked Sendable {
  let kernel: SimulatedKernel
  let scheduler: UnsafeMutablePointer<ThreadScheduler<Simulated, NoSchedulerEvents>>
  private let memory: UnsafeMutableRawPointer
  /// The idle threads of the CPUs, and the thread that drives the scenario.
  let idle: UnsafeMutablePointer<ScheduledThread>
  private var threads: [ScheduledThreadPointer: SimulatedThread] = [:]
  /// The thread that each CPU runs, or ran when it stopped.
  private var current: [ScheduledThreadPointer] = []
  /// The states of the CPUs.
  let cpus: SimulatedCPUs
  private let seed: UInt64
  private var runs: UInt64 = 0
  /// Whether CPUs execute.
  private(set) var isRunning = false
  /// Whether a stall was found: no thread could run, and all ready ones waited for memory that could not come back.
  private(set) var hasStalled = false

  init(kernel: SimulatedKernel, seed: UInt64) {
    self.kernel = kernel
    self.seed = seed
    cpus = SimulatedCPUs(count: kernel.machine.cpuCount)
    let count = kernel.machine.cpuCount
    memory = .allocate(
      byteCount: ThreadScheduler<Simulated, NoSchedulerEvents>.byteCount(cpuCount: count), alignment: 64)
    scheduler = .allocate(capacity: 1)
    scheduler.initialize(
      to: ThreadScheduler(machine: kernel.machine, memory: memory, events: NoSchedulerEvents()))
    idle = .allocate(capacity: count)
    for cpu in 0..<count {
      (idle + cpu).initialize(
        to: ScheduledThread(id: -1, stackBase: VirtualAddress(0), stackPointer: VirtualAddress(0)))
      current.append(idle + cpu)
      kernel.machine.simulation.onCPU(cpu) { _ in
        scheduler.pointee.startCPU(running: idle + cpu, idle: idle + cpu)
      }
    }
    cpus.threads = self
  }

  deinit {
    scheduler.deinitialize(count: 1)
    scheduler.deallocate()
    memory.deallocate()
    idle.deallocate()
  }

  private var processes: UnsafeMutablePointer<Processes<SimulatedParts>> { kernel.processes }

  // The scheduler's part lies at the start of the machine's part of the record.
  private func scheduled(_ thread: KernelThreadPointer) -> ScheduledThreadPointer {
    UnsafeMutableRawPointer(thread).assumingMemoryBound(to: ScheduledThread.self)
  }

  func prepare(_ thread: KernelThreadPointer) {
    prepare(thread) { scheduled, bounds in
      SimulatedThread(thread, scheduled, bounds, kernel, processes.pointee.threadProgram(of: thread))
    }
  }

  /// Prepares a thread of a storm.
  func prepareStorm(_ thread: KernelThreadPointer) {
    prepare(thread) { scheduled, bounds in SimulatedStormThread(thread, scheduled, bounds, kernel, self) }
  }

  private func prepare(
    _ thread: KernelThreadPointer, making make: (ScheduledThreadPointer, StackBounds) -> SimulatedThread
  ) {
    guard let bounds = thread.pointee.stack?.usableRange, let base = thread.pointee.stack?.base else { return }
    let scheduled = scheduled(thread)
    scheduled.initialize(
      to: ScheduledThread(id: Int(thread.pointee.number), stackBase: base, stackPointer: bounds.top))
    threads[scheduled] = make(scheduled, bounds)
    kernel.placeEndMarker(base)
  }

  func resume(_ thread: KernelThreadPointer) {
    if thread.pointee.wakeCount == 1 {
      scheduler.pointee.enqueue(scheduled(thread))
    } else {
      scheduler.pointee.wake(scheduled(thread))
    }
  }

  func reclaim(target: Int) -> Int {
    scheduler.pointee.reclaim(target: target, stacks: processes.pointee.stacks)
  }

  /// Runs threads on all CPUs.
  ///
  /// - Parameters:
  ///   - slices: the most switches to threads; `nil` to run until no thread is awake, or a stall is found.
  ///   - program: called by the first CPU before it runs threads; the others run threads meanwhile.
  func run(slices: Int? = nil, beside program: (() -> Void)? = nil) {
    runs += 1
    var left = slices ?? Int.max
    var isOver = program == nil
    withoutActuallyEscaping(program ?? {}) { program in
      let bodies: [(Simulated) throws -> Void] = (0..<kernel.machine.cpuCount).map { cpu in
        { [self] machine in
          var random = SplitMix64(seed: seed &+ runs &<< 8 &+ UInt64(cpu))
          defer { kernel.takePagesBack() }
          if cpu == 0, !isOver {
            program()
            isOver = true
          }
          while left > 0, !hasStalled, !kernel.hasPanicked {
            if !cpus.goesOn(cpu, machine) { next(cpu, machine) }
            guard let thread = threads[current[cpu]] else {
              if isOver, processes.pointee.threadFigures.awake == 0 { return }
              continue
            }
            left -= 1
            thread.run(actions: 1 + random.next(below: 40), machine)
          }
        }
      }
      isRunning = true
      defer { isRunning = false }
      do {
        try kernel.machine.simulation.run(bodies)
      } catch { preconditionFailure("\(error)") }
    }
  }

  /// Switches a CPU to the next thread, as an exception handler does.
  private func next(_ cpu: Int, _ machine: Simulated) {
    let interrupts = machine.disableInterrupts()
    defer { machine.restoreInterrupts(interrupts) }
    let old = current[cpu]
    if let thread = threads[old] {
      old.pointee.savedStackPointer = thread.stackPointer
      kernel.checkEnd(of: old.pointee.stackBase)
    }
    kernel.takePagesBack()
    current[cpu] = scheduler.pointee.next(after: old, stacks: processes.pointee.stacks) { _ in }
    if let departed = scheduler.pointee.takeDeparted(), let ended = threads.removeValue(forKey: departed) {
      _ = processes.pointee.threadHasStopped(ended.thread)
    }
    if current[cpu] == idle + cpu, scheduler.pointee.takeStall() { reportStall() }
    _ = scheduler.pointee.takeNotifications()
    // As a tick does.
    if current[cpu] == idle + cpu { processes.pointee.stacks.serviceReclaimRequest() }
    kernel.lendPages(to: current[cpu].pointee.stackBase)
  }

  private func reportStall() {
    hasStalled = true
    let console = kernel.console
    writeStall(of: scheduler.pointee, stacks: processes.pointee.stacks, to: console)
    var json = JSONWriter(console)
    json.begin("error")
    json.field("message", "panic: no task can run, and no memory can be given back")
    json.end()
  }
}
