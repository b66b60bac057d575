// The scenario `smp-storm`: forks, exits, threads that make threads, growth, shrinking, reclaim and areas of the vmalloc
// area on all CPUs at once. Each owner verifies what is its own; at the end, nothing is missing.

import KernelProcesses
import KernelStacks
import SystemCallInterface
import UserPrograms

/// What the threads of a storm share; part of the state of workloads.
struct StormState {
  var figures = StormFigures()
  var threads = StormThreadFigures()
  var cpus = StormCPUs()
  /// How many operations threads do, and how many of them they may still begin.
  var total = 0
  var left = 0
  var seed: UInt64 = 1
}

/// What threads of a storm do besides the steps of a ``StormWorker``.
public struct StormThreadFigures: Sendable {
  /// How often a thread grew its own stack on a fault.
  public var growths = 0
  /// How often a thread that slept found that its stack had been shrunk.
  public var shrinks = 0
  /// How many threads were to be made without memory for them.
  public var refused = 0

  /// Nothing yet.
  public init() {}
}

extension Processes where Parts: ScenarioParts {
  /// The seed of the storm.
  public var stormSeed: UInt64 { workload.pointee.storm.seed }

  /// Takes a share of the operations that are left; writes progress now and then.
  ///
  /// - Returns: how many a thread may do; 0 when the storm is over.
  public borrowing func takeStormShare<Console: TextSink>(_ wanted: Int, console: Console) -> Int {
    let (share, isMark) = locked {
      let (total, left) = (max(1, workload.pointee.storm.total), workload.pointee.storm.left)
      let share = min(wanted, left)
      workload.pointee.storm.left = left - share
      return (share, left * 64 / total != (left - share) * 64 / total)
    }
    if isMark { writeStormProgress(console) }
    return share
  }

  /// Writes how far a storm is; its program is a small part of it.
  borrowing func writeStormProgress<Console: TextSink>(_ console: Console) {
    let total = workload.pointee.storm.total
    writeProgress(total - workload.pointee.storm.left, of: total, console: console)
  }

  /// Adds what a thread of the storm did and found.
  public borrowing func addStorm(_ figures: StormFigures, _ threads: StormThreadFigures) {
    locked {
      workload.pointee.storm.figures.add(figures)
      workload.pointee.storm.threads.growths += threads.growths
      workload.pointee.storm.threads.shrinks += threads.shrinks
      workload.pointee.storm.threads.refused += threads.refused
    }
  }
}

func runSMPStorm<Host: ScenarioHost>(
  _ options: ScenarioOptions, in processes: borrowing Processes<Host.Parts>, host: Host
) -> Bool {
  let start = ThreadScenarioStart(processes, host)
  let first: TaskPointer
  do {
    first = try processes.createFirst(host.programImage)
  } catch {
    writeError(error, to: host.console)
    return false
  }
  processes.resetFigures()
  let before = processes.machine.counters
  let userBefore = host.userInvalidations
  let waitsBefore = host.lockWaits
  // One operation of thirty is the program's, which forks in every second of them.
  let programOperations = max(1, options.operations / 30)
  processes.beginRecord(unit: "operations", total: options.operations)
  processes.beginThreads(.wander, seed: options.seed)
  processes.beginStorm(operations: options.operations, seed: options.seed)
  do throws(KernelThreadError) {
    for _ in 0..<options.threadCount {
      let thread = try processes.makeThread()
      host.prepareStorm(thread, in: processes)
      processes.startThread(thread)
      host.resume(thread, in: processes)
    }
  } catch {
    // Those that run go on; fewer will do.
    writeError(error, to: host.console)
  }
  host.runBesideThreads(
    first, ProgramArguments(.forkChurn, seed: options.seed, operations: programOperations), in: processes)
  // Sleepers are woken by other threads; when all sleep, this thread wakes them.
  var canGoOn = true
  while canGoOn, processes.threadFigures.live > 0 {
    processes.wakeSleepers(.max) { host.resume($0, in: processes) }
    canGoOn = host.awaitThreads(in: processes)
  }
  guard canGoOn else { return false }
  processes.bringCPUsBack(host)

  var waits = host.lockWaits
  waits.subtract(waitsBefore)
  let forks = processes.figures
  let (end, status) = (first.pointee.end, first.pointee.exitStatus)
  let leftBehind = processes.destroyAll()
  let threads = processes.threadFigures
  let verdicts = processes.threadVerdicts
  let storm = processes.workload.pointee.storm
  let leaked = start.leakedFrames(processes, host)
  var checks = ScenarioChecks(host.console)
  checks.check("the first process ran to its end", end == .exited)
  checks.check("the program found nothing wrong", status == 0)
  checks.check("every child was reaped", leftBehind == 0)
  checks.check("every new page read as zero", storm.figures.notZero == 0)
  checks.check("every owner found its marks", storm.figures.changed == 0)
  checks.check("no legal operation was refused", storm.figures.failed == 0)
  checks.check(
    "every CPU that went offline came back",
    storm.cpus.offline == 0 && storm.cpus.figures.departures == storm.cpus.figures.returns
      && storm.cpus.figures.refused == 0)
  checks.checkThreads(threads.made, in: processes, since: start, leaked: leaked)

  var json = JSONWriter(host.console)
  json.beginResult(options, host, in: processes)
  json.field("cpus", processes.machine.cpuCount)
  let exits = forks.succeeded + verdicts.intact + verdicts.damaged
  let operations =
    storm.figures.operations + storm.threads.growths + storm.threads.shrinks + forks.attempted + threads.made
    + exits
  json.field("operations", operations)
  json.beginObject("mix")
  json.field("forks", forks.succeeded)
  json.field("threadsMade", threads.made)
  json.field("exits", exits)
  json.field("allocations", storm.figures.count(of: .allocate))
  json.field("frees", storm.figures.count(of: .free))
  json.field("growths", storm.figures.count(of: .grow) + storm.threads.growths)
  // Where pages are lent, threads' stacks grow by what was touched, without a fault.
  json.field("growthsOnFault", options.growth == .lent ? 0 : storm.threads.growths)
  json.field("shrinks", storm.figures.count(of: .shrink) + storm.threads.shrinks)
  json.field("shrinksOfSleepers", storm.threads.shrinks)
  json.field("reclaims", storm.figures.count(of: .reclaim))
  json.field("vmallocs", storm.figures.count(of: .vmalloc) + storm.figures.count(of: .vfree))
  json.field("cpusTakenOffline", storm.cpus.figures.departures)
  json.field("cpusBroughtBack", storm.cpus.figures.returns)
  json.endObject()
  let counted = processes.machine.counters
  json.field("tlbInvalidations", Int(counted.tlbInvalidations &- before.tlbInvalidations))
  json.field("tlbInstructions", Int(counted.tlbInstructions &- before.tlbInstructions))
  json.field("userInvalidations", host.userInvalidations - userBefore)
  json.field("lockWaits", waits)
  json.field("refused", storm.figures.refused + storm.threads.refused)
  json.field("violations", storm.figures.violations + verdicts.damaged)
  json.field("firstWrongAddress", Int(bitPattern: storm.figures.firstAddress))
  json.field("firstWrongValue", storm.figures.firstValue)
  json.frameBalance(before: start.freeFrames, leaked: leaked)
  json.end()
  return checks.allHeld
}

extension Processes where Parts: ScenarioParts {
  /// Starts a storm.
  borrowing func beginStorm(operations: Int, seed: UInt64) {
    workload.pointee.storm = StormState()
    workload.pointee.storm.total = operations
    workload.pointee.storm.left = operations
    workload.pointee.storm.seed = seed
  }
}
