// A run of code on several CPUs, one of which executes at any time.

import KernelMachine

extension Simulation {
  /// Runs each body as one CPU, in an interleaving that follows from the seed, until all have ended.
  ///
  /// One body runs on the caller's thread. Several run on a host thread each, of which exactly one executes; at every
  /// machine call the seed may switch to another.
  ///
  /// - Parameter bodies: one for each CPU, from CPU 0 on; at least one, and not more than there are CPUs.
  /// - Throws: the first error that a body threw, ``SimulationError/deadlock(_:)``,
  ///   ``SimulationError/stepLimitReached(_:)``, ``SimulationError/invalidBodyCount(bodies:cpus:)`` or
  ///   ``SimulationError/alreadyRunning``.
  public func run(_ bodies: [(Simulated) throws -> Void]) throws {
    guard runner == nil else { throw SimulationError.alreadyRunning }
    guard (1...cpus.count).contains(bodies.count) else {
      throw SimulationError.invalidBodyCount(bodies: bodies.count, cpus: cpus.count)
    }
    if bodies.count == 1 {
      running = 0
      defer { checkEnd() }
      try bodies[0](machine)
      return
    }
    try CPURunner.run(bodies, in: self)
  }

  /// Checks that the ended body of a CPU has released its locks and enabled interrupts.
  func checkEnd() {
    record(.finish)
    for lock in cpus[running].heldLocks {
      report(.lockHeldAtEnd, "\(lockName(lock)) is still held")
    }
    if !cpus[running].interruptsEnabled { report(.interruptsOffAtEnd, "interrupts are still off") }
  }

  /// Lets the seed switch to another CPU; called before each machine call takes effect.
  func step() {
    guard let runner else { return }
    runner.step()
  }

  /// Lets other CPUs run until the lock that this CPU waits for is free.
  func waitForOthers() { runner!.waitForOthers() }
}
