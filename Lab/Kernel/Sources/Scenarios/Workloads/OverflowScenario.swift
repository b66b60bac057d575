// The scenario `overflow`: some tasks leave their stacks at random moments, others go on and check theirs.
//
//                      vmalloc, growing                        linear
//   an overflow is     found by the guard, at the access       found by the end marker, at the switch
//   the task           dies; what it had taken comes back      takes the kernel with it: report, panic
//   the others         go on, their stacks as they left them   end too: what was overwritten is unknown

import KernelProcesses
import KernelStacks
import SystemCallInterface
import UserPrograms

/// Counts of overflows.
public struct OverflowFigures: Sendable {
  /// How many tasks were about to leave their stacks.
  public let provoked: Int
  /// How many were ended for it.
  public let died: Int
}

extension Processes where Parts: ScenarioParts {
  /// The counts of overflows: of processes since ``resetFigures()``, of threads since ``beginThreads(_:seed:)``.
  public var overflowFigures: OverflowFigures {
    OverflowFigures(
      provoked: workload.pointee.overflowsProvoked, died: figures.overflowed + threadFigures.overflowed)
  }

  /// Prepares a task for its overflow: it is counted, and takes frames and an area that only its registry knows of.
  ///
  /// What it cannot have for want of memory it goes without.
  public borrowing func prepareOverflow(of registry: inout TaskRegistry) {
    locked { workload.pointee.overflowsProvoked += 1 }
    do throws(TaskRegistryError) {
      _ = try takeFrames(order: 0, for: &registry)
      _ = try takeFrames(order: 1, for: &registry)
      _ = try takeArea(size: 2 * pageSize, for: &registry)
    } catch {}
  }
}

func runOverflow<Host: ScenarioHost>(
  _ options: ScenarioOptions, in processes: borrowing Processes<Host.Parts>, host: Host
) -> Bool {
  let start = ThreadScenarioStart(processes, host)
  let count = options.threadCount
  processes.beginThreads(.reckless, seed: options.seed)
  let first: TaskPointer
  do throws(KernelThreadError) {
    try host.makeThreads(count, of: count, in: processes)
  } catch { return start.abandon(error, in: processes, host: host) }
  do {
    first = try processes.createFirst(host.programImage)
  } catch {
    writeError(error, to: host.console)
    processes.discardThreads()
    return false
  }
  processes.resetFigures()
  processes.beginRecord(unit: "processes", total: min(count, 64))

  // Threads and processes run side by side, where more than one can.
  processes.visitThreads()
  while processes.wakeNext(where: { _ in true }, resume: { host.resume($0, in: processes) }) {}
  host.run(
    first, ProgramArguments(.overflowAmongOthers, seed: options.seed, operations: count), in: processes)
  host.awaitThreads(in: processes)

  if host.hasPanicked {
    processes.destroyAll()
    processes.discardThreads()
    writeLateOverflow(options, machine: host.machineName, in: processes, to: host.console)
    return options.strategy == .linear
  }
  let (end, status) = (first.pointee.end, first.pointee.exitStatus)
  let verified = processes.noted(.childrenVerified)
  let leftBehind = processes.destroyAll()
  let leaked = start.leakedFrames(processes, host)
  let overflows = processes.overflowFigures
  let threads = processes.threadFigures
  let verdicts = processes.threadVerdicts

  var checks = ScenarioChecks(host.console)
  checks.check("tasks left their stacks", overflows.provoked >= 2)
  checks.check("each of them died", overflows.died == overflows.provoked)
  checks.check("the first process found nothing wrong", end == .exited && status == 0)
  checks.check(
    "every other process and thread went on, its stack as it left it",
    leftBehind == 0 && threads.live == 0 && verdicts.damaged == 0
      && verdicts.intact + threads.overflowed == count
      && verified + verdicts.intact + overflows.died == count + min(count, 64))
  checks.check("no frame was lost", leaked == 0)
  checks.check("no kernel stack was lost", processes.kernelStackBytes == start.stackBytes)

  var json = JSONWriter(host.console)
  json.beginResult(options, host, in: processes)
  json.field("processes", min(count, 64))
  json.field("threads", count)
  json.field("overflowed", overflows.provoked)
  json.field("died", overflows.died)
  json.field("survived", verified + verdicts.intact)
  json.field("kernelEnd", "exit")
  json.frameBalance(before: start.freeFrames, leaked: leaked)
  json.end()
  return checks.allHeld
}

/// Writes the result of the scenario `overflow` with stacks that have no guard: the first overflow that is found ends the
/// kernel.
///
/// - Parameters:
///   - options: the scenario's.
///   - machine: the machine's name in results.
///   - processes: as they are at that moment.
///   - console: where the line goes.
public func writeLateOverflow<Parts: ScenarioParts, Console: TextSink>(
  _ options: ScenarioOptions, machine: StaticString, in processes: borrowing Processes<Parts>,
  to console: Console
) {
  var json = JSONWriter(console)
  json.beginResult(options, machine: machine, in: processes)
  json.field("processes", min(options.threadCount, 64))
  json.field("threads", options.threadCount)
  json.field("overflowed", processes.overflowFigures.provoked)
  json.field("died", 0)
  json.field("survived", 0)
  json.field("kernelEnd", "panic")
  json.nullField("leakedFrames")
  json.end()
}
