// The scenario `deep-recursion`: threads go to random depths, and check every frame on the way back.

import KernelProcesses
import KernelStacks
import SeededRandom

func runDeepRecursion<Host: ScenarioHost>(
  _ options: ScenarioOptions, in processes: borrowing Processes<Host.Parts>, host: Host
) -> Bool {
  let start = ThreadScenarioStart(processes, host)
  let count = options.threadCount
  processes.beginThreads(.wander, seed: options.seed)
  do throws(KernelThreadError) {
    try host.makeThreads(count, of: count, in: processes)
  } catch { return start.abandon(error, in: processes, host: host) }

  // The first time all, then three of four of those that sleep, by seed, until none is left.
  var random = SplitMix64(seed: options.seed)
  var rounds = 0
  var largestStackBytes = 0
  var canGoOn = host.wakeThreads(in: processes)
  while canGoOn, processes.threadFigures.live > 0 {
    largestStackBytes = max(largestStackBytes, processes.kernelStackBytes - start.stackBytes)
    canGoOn = host.wakeThreads(in: processes) { _ in random.next(below: 4) > 0 }
    rounds += 1
    let verdicts = processes.threadVerdicts
    if rounds % 16 == 0 { host.writeProgress(verdicts.intact + verdicts.damaged, of: count, "threads ended") }
  }
  guard canGoOn else { return false }

  let leaked = start.leakedFrames(processes, host)
  var checks = ScenarioChecks(host.console)
  checks.checkThreads(count, in: processes, since: start, leaked: leaked)
  var json = JSONWriter(host.console)
  json.beginResult(options, host, in: processes)
  json.field("threads", count)
  json.field("threadsIntact", processes.threadVerdicts.intact)
  json.field("stackBytes", largestStackBytes)
  json.frameBalance(before: start.freeFrames, leaked: leaked)
  json.end()
  return checks.allHeld
}
