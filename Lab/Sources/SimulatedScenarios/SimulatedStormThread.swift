// A simulated thread of the scenario `smp-storm`. Between the steps of a worker it goes deep into its stack, sleeps, is shrunk,
// wakes and makes other threads, and takes CPUs offline and back.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine

/// Memory through the MMU of the thread's CPU, and the kernel's reclaim.
private struct SimulatedStorm: StormSurroundings {
  let machine: Simulated
  let threads: SimulatedThreads

  func load(_ address: VirtualAddress) -> UInt64 {
    // Memory that its owner cannot reach counts as damaged.
    (try? retried { () throws(SimulatedFault) in try machine.load(address) }) ?? 0x6c6f_7374_6c6f_7374
  }

  func store(_ value: UInt64, to address: VirtualAddress) {
    try? retried { () throws(SimulatedFault) in try machine.store(value, to: address) }
  }

  func reclaim(target: Int) { _ = threads.reclaim(target: target) }

  func allocateArea(byteCount: Int) throws(VmallocError) -> VirtualAddress {
    let processes = threads.kernel.processes
    return try processes.pointee.arena.vmalloc(
      size: byteCount, caller: "storm", frames: processes.pointee.frames)
  }

  func freeArea(_ area: VirtualAddress) throws(VmallocError) {
    let processes = threads.kernel.processes
    try processes.pointee.arena.vfree(area, frames: processes.pointee.frames)
  }

  /// Tries twice: a fault may be taken once more on an older translation.
  private func retried<Value>(_ body: () throws(SimulatedFault) -> Value) throws(SimulatedFault) -> Value {
    do { return try body() } catch { return try body() }
  }
}

/// A thread of a storm, run action by action; it may be preempted after any of them.
final class SimulatedStormThread: SimulatedThread {
  private unowned let threads: SimulatedThreads
  private let share: Int
  private var worker: StormWorker
  private var program: StormProgram
  private var figures = StormThreadFigures()
  /// The bytes of stack to leave on its way down, or 0 on its way back.
  private var goal = 0
  private var pagesBefore = 0
  private var change: StormCPUChange?

  init(
    _ thread: KernelThreadPointer, _ scheduled: ScheduledThreadPointer, _ bounds: StackBounds,
    _ kernel: SimulatedKernel, _ threads: SimulatedThreads
  ) {
    self.threads = threads
    let processes = kernel.processes
    let (seed, number) = (processes.pointee.stormSeed, Int(thread.pointee.number))
    share = processes.pointee.takeStormShare(StormProgram.stepsPerThread, console: kernel.console)
    worker = StormWorker(seed: seed, number: number)
    program = StormProgram(seed: seed, number: number, steps: share)
    super.init(thread, scheduled, bounds, kernel, processes.pointee.threadProgram(of: thread))
  }

  private var processes: UnsafeMutablePointer<Processes<SimulatedParts>> { kernel.processes }

  private var mappedPages: Int { processes.pointee.stacks.mappedPageCount(scheduled.pointee.stackBase) }

  override func run(actions: Int, _ machine: Simulated) {
    if thread.pointee.state == .asleep {
      scheduled.pointee.request = .wait
      return
    }
    noteShrink()
    for _ in 0..<actions {
      if change != nil, !finishChange() { return }
      if goal > 0 {
        if goDown(machine) { return }
      } else if !frames.isEmpty {
        leave(machine)
      } else if act(machine) {
        return
      }
    }
  }

  /// - Returns: whether it yields the CPU.
  private func act(_ machine: Simulated) -> Bool {
    switch program.next() {
    case .step: worker.step(processes.pointee.stacks, SimulatedStorm(machine: machine, threads: threads))
    case .descend(let bytes):
      goal = max(bytes, ThreadProgram.margin)
      pagesBefore = mappedPages
    case .sleep: return sleepUnlessNeeded()
    case .wakeOthers: processes.pointee.wakeSleepers(3) { threads.resume($0) }
    case .yield: return true
    case .changeCPUs: return beginChange()
    case .end:
      end(machine)
      return true
    }
    return false
  }

  // MARK: Its own stack

  /// - Returns: whether it yields the CPU.
  private func goDown(_ machine: Simulated) -> Bool {
    let bytesLeft = stackPointer - bounds.base
    if bytesLeft - ThreadFrameSize.medium.byteCount - ThreadFrameSize.overhead >= goal {
      enter(.medium, machine)
      return false
    }
    goal = 0
    if mappedPages > pagesBefore { figures.growths += 1 }
    switch program.atBottom() {
    case .sleep: return sleepUnlessNeeded()
    case .yield: return true
    default: return false
    }
  }

  private func sleepUnlessNeeded() -> Bool {
    if processes.pointee.threadFigures.awake > threads.kernel.machine.cpuCount + 1 {
      pagesBefore = mappedPages
      isAsleep = true
      sleep()
    }
    return true
  }

  private var isAsleep = false

  private func noteShrink() {
    if isAsleep, mappedPages < pagesBefore { figures.shrinks += 1 }
    isAsleep = false
  }

  // MARK: CPUs

  private func beginChange() -> Bool {
    guard let change = processes.pointee.beginCPUChange(program.draw()) else { return false }
    let isAccepted = change.isReturn ? threads.cpus.start(change.number) : threads.cpus.close(change.number)
    if isAccepted {
      self.change = change
    } else {
      processes.pointee.endCPUChange(change, isDone: false)
    }
    return true
  }

  /// - Returns: whether no change is in progress; if one is, other threads have to run.
  private func finishChange() -> Bool {
    guard let change else { return true }
    if change.isReturn {
      guard threads.cpus.isOnline(change.number) else { return false }
    } else {
      guard threads.cpus.hasStopped(change.number) else { return false }
      processes.pointee.stacks.reclaim(fromStoppedCPU: change.number)
      processes.pointee.frameAllocator.drain(cpu: change.number)
    }
    processes.pointee.endCPUChange(change, isDone: true)
    self.change = nil
    return true
  }

  // MARK: Its end

  private func end(_ machine: Simulated) {
    worker.finish(processes.pointee.stacks, SimulatedStorm(machine: machine, threads: threads))
    if share == StormProgram.stepsPerThread { makeSuccessor() }
    processes.pointee.addStorm(worker.figures, figures)
    processes.pointee.threadEnds(thread, intact: isIntact)
    scheduled.pointee.request = .exit
  }

  private func makeSuccessor() {
    do {
      let successor = try processes.pointee.makeThread()
      threads.prepareStorm(successor)
      processes.pointee.startThread(successor)
      threads.resume(successor)
    } catch { figures.refused += 1 }
  }
}
