// The scenario `switching`: CPUs switch to threads of the kernel in turn, and each thread touches a part of its stack.
//
//   start     goes down as deep as threads typically do, and sleeps there
//   wake-up   takes turns: enters a frame, leaves it, lets others run; sleeps
//   wake-up   the same: now counted
//   wake-up   comes back, and ends
//
// What a switch misses in caches and TLBs a memory model outside the machine counts (Lab/MemoryModel).

import KernelProcesses
import KernelStacks

func runSwitching<Host: ScenarioHost>(
  _ options: ScenarioOptions, in processes: borrowing Processes<Host.Parts>, host: Host
) -> Bool {
  let start = ThreadScenarioStart(processes, host)
  var rows = BenchmarkRows(host.console, strategy: options.strategy)
  var checks = ScenarioChecks(host.console)
  // 10, 100, 1,000 and so on, and as many as are asked for.
  var count = min(10, options.threadCount)
  while true {
    processes.beginThreads(.turns, seed: options.seed)
    do throws(KernelThreadError) {
      try host.makeThreads(count, of: count, in: processes)
    } catch { return start.abandon(error, in: processes, host: host) }
    guard host.wakeThreads(in: processes), host.wakeThreads(in: processes),
      let cost = host.measureTurns(of: count, in: processes),
      host.wakeThreads(in: processes)
    else { return false }
    rows.row("switch, each thread in turn", cost, live: count)
    checks.checkThreads(count, in: processes, since: start, leaked: start.leakedFrames(processes, host))
    if count == options.threadCount { return checks.allHeld }
    count = min(10 * count, options.threadCount)
  }
}

extension ScenarioHost {
  /// Wakes all threads for their turns, and counts what these cost.
  ///
  /// - Returns: the cost; its mean is that of one switch to a thread, wake-ups included. `nil` if nothing can run any more.
  fileprivate func measureTurns(of count: Int, in processes: borrowing Processes<Parts>) -> Cost? {
    var cost = Cost()
    cost.count = count * (ThreadProgram.turns + 1)
    var haveAllSlept = false
    let before = processes.machine.counters
    cost.modelled = modelled(operations: cost.count) { haveAllSlept = wakeThreads(in: processes) }
    let after = processes.machine.counters
    cost.instructions = Int(after.instructions &- before.instructions)
    cost.tlbInvalidations = Int(after.tlbInvalidations &- before.tlbInvalidations)
    return haveAllSlept ? cost : nil
  }
}
