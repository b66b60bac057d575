// The runner of several CPUs, each a host thread, of which one executes at a time; the seed chooses the next.

import KernelMachine
import SeededRandom

/// One run of several bodies.
final class CPURunner {
  private enum Stop {
    case finished
    case abandoned(SimulationError)
  }

  private unowned let simulation: Simulation
  private let baton: Baton
  /// The number of the caller's thread among those that pass the baton.
  private let caller: Int
  /// The average number of machine calls between two choices of the CPU that runs.
  ///
  /// The seed chooses it for the run: tight interleavings find races of a few steps, loose ones let a CPU get far ahead.
  private let pace: Int
  /// The body that each CPU executes: at first the one with its number.
  private var bodyOfCPU: [Int]
  private var isFinished: [Bool]
  private var firstError: (any Error)?
  private var stop = Stop.finished
  private var steps = 0

  private init(_ simulation: Simulation, cpuCount: Int) {
    self.simulation = simulation
    caller = cpuCount
    baton = Baton(count: cpuCount + 1, holder: cpuCount)
    bodyOfCPU = Array(0..<cpuCount)
    isFinished = Array(repeating: false, count: cpuCount)
    pace = 1 << simulation.random.next(below: 6)
  }

  static func run(_ bodies: [(Simulated) throws -> Void], in simulation: Simulation) throws {
    let runner = CPURunner(simulation, cpuCount: bodies.count)
    var threads: [HostThread] = []
    do {
      for (cpu, body) in bodies.enumerated() {
        threads.append(
          try HostThread {
            runner.baton.wait(for: cpu)
            runner.runBody(body)
          })
      }
    } catch {
      for thread in threads { thread.detach() }
      throw error
    }
    simulation.runner = runner
    simulation.running = simulation.random.next(below: bodies.count)
    runner.baton.pass(to: runner.bodyOfCPU[simulation.running])
    runner.baton.wait(for: runner.caller)
    simulation.runner = nil
    simulation.running = 0
    simulation.translations.orderUpdates()
    switch runner.stop {
    case .finished:
      for thread in threads { thread.join() }
    case .abandoned(let error):
      // The threads sleep for ever: their bodies cannot be unwound, and memory that they may touch must stay.
      for thread in threads { thread.detach() }
      _ = Unmanaged.passRetained(simulation)
      throw error
    }
    if let error = runner.firstError { throw error }
  }

  private func runBody(_ body: (Simulated) throws -> Void) {
    do { try body(simulation.machine) } catch { firstError = firstError ?? error }
    simulation.checkEnd()
    isFinished[bodyOfCPU[simulation.running]] = true
    if !isFinished.contains(false) {
      baton.pass(to: caller)
    } else if let next = chooseNext() {
      simulation.record(.handOver, UInt64(next))
      simulation.running = next
      baton.pass(to: bodyOfCPU[next])
    } else {
      abandon(deadlock())
    }
  }

  /// Lets the seed switch to another CPU before a machine call of the running one takes effect.
  func step() {
    steps += 1
    if steps > simulation.configuration.stepLimit {
      abandonAndSleep(.stepLimitReached(simulation.configuration.stepLimit))
    }
    if simulation.configuration.migration != .none { migrate() }
    if simulation.configuration.runsCPUsInTurn { return }
    if pace == 1 || simulation.random.next(below: pace) == 0 { handOver(to: chooseNext()!) }
  }

  /// Lets other CPUs run while the running one waits for a lock that is taken.
  func waitForOthers() {
    steps += 1
    guard let next = chooseNext() else {
      abandonAndSleep(deadlock())
      return
    }
    handOver(to: next)
  }

  /// Lets another CPU run, if one can, while the running one waits for what is no lock.
  func letOthersRun() {
    if let next = chooseNext() { handOver(to: next) }
  }

  private func handOver(to next: Int) {
    guard next != simulation.running else { return }
    let body = bodyOfCPU[simulation.running]
    simulation.record(.handOver, UInt64(next))
    simulation.running = next
    baton.pass(to: bodyOfCPU[next])
    baton.wait(for: body)
  }

  /// A tick at some machine calls, by seed: the running thread continues on another CPU, and that CPU's thread here.
  private static let ticks = 16

  private func migrate() {
    let cpu = simulation.running
    guard simulation.random.next(below: Self.ticks) == 0, simulation.isPreemptible(cpu) else { return }
    let others = bodyOfCPU.indices.filter { other in
      other != cpu && simulation.isPreemptible(other)
    }
    guard !others.isEmpty else { return }
    let other = others[simulation.random.next(below: others.count)]
    simulation.exchangeThreads(cpu, other)
    bodyOfCPU.swapAt(cpu, other)
    simulation.running = other
  }

  /// A CPU that can continue; `nil` when all that have not ended wait for a lock that is taken.
  private func chooseNext() -> Int? {
    let candidates = bodyOfCPU.indices.filter { cpu in
      guard !isFinished[bodyOfCPU[cpu]] else { return false }
      guard let lock = simulation.cpus[cpu].awaitedLock else { return true }
      return simulation.lockIsFree(lock)
    }
    return candidates.isEmpty ? nil : candidates[simulation.random.next(below: candidates.count)]
  }

  private func deadlock() -> SimulationError {
    let waits = bodyOfCPU.indices.compactMap { cpu -> String? in
      guard !isFinished[bodyOfCPU[cpu]], let lock = simulation.cpus[cpu].awaitedLock else { return nil }
      return "CPU \(cpu) waits for \(simulation.lockName(lock)), which CPU \(simulation.lockHolder(lock)) holds"
    }
    let text = waits.joined(separator: "; ")
    simulation.report(.deadlock, text)
    return .deadlock(text)
  }

  private func abandon(_ error: SimulationError) {
    stop = .abandoned(error)
    baton.pass(to: caller)
  }

  private func abandonAndSleep(_ error: SimulationError) {
    let body = bodyOfCPU[simulation.running]
    abandon(error)
    baton.wait(for: body)
    fatalError("an abandoned CPU was given a turn")
  }
}
