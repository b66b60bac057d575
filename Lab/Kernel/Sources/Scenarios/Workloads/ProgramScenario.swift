// Scenarios that are one program of the first process: run it, look at how it ended, look for leaks.

import KernelProcesses
import KernelStacks
import SystemCallInterface
import UserPrograms

func runProgramScenario<Host: ScenarioHost>(
  _ program: UserProgram, _ options: ScenarioOptions, in processes: borrowing Processes<Host.Parts>, host: Host
) -> Bool {
  processes.settle()
  let freeAtStart = processes.frames.freeFrames
  let stackBytesAtStart = processes.kernelStackBytes
  let endsMemory = program == .exhaustAndRecover
  let surplus = SurplusMemory(beyond: endsMemory ? processes.exhaustibleFrames(options) : .max, of: processes)
  let first: TaskPointer
  do {
    first = try processes.createFirst(host.programImage)
  } catch {
    surplus.release(in: processes)
    writeError(error, to: host.console)
    return false
  }
  processes.resetFigures()
  processes.beginRecord(
    unit: program == .forkChurn ? "operations" : "forks",
    total: program == .forkChurn || program == .forkAtOnce
      ? options.operations : processes.frames.freeFrames / 9)

  let zeroed = ZeroedShare(processes)
  let before = processes.machine.counters
  let userBefore = host.userInvalidations
  let agingBefore = host.agingInvalidations
  let waitsBefore = host.lockWaits
  let seed = program == .forkAtOnce ? UInt64(processes.machine.cpuCount) : options.seed
  let arguments = ProgramArguments(program, seed: seed, operations: options.operations)
  var modelled = 0
  if program == .forkChurn {
    modelled = host.modelled(operations: options.operations) { host.run(first, arguments, in: processes) }
  } else {
    host.run(first, arguments, in: processes)
  }

  let figures = processes.figures
  let counted = processes.machine.counters
  var waits = host.lockWaits
  waits.subtract(waitsBefore)
  let invalidations = Int(counted.tlbInvalidations &- before.tlbInvalidations)
  let userInvalidations = host.userInvalidations - userBefore
  let agingInvalidations = host.agingInvalidations - agingBefore
  let zeroedPermille = zeroed.permille(processes)
  let (end, status) = (first.pointee.end, first.pointee.exitStatus)
  let leftBehind = processes.destroyAll()
  surplus.release(in: processes)
  processes.settle()
  let leaked = freeAtStart - processes.frames.freeFrames

  var checks = ScenarioChecks(host.console)
  checks.check("the first process ran to its end", end == .exited)
  checks.check("the program found nothing wrong", status == 0)
  if program == .exhaustAndRecover { checkRecovery(&checks, options, in: processes) }
  checks.check("every child was reaped", leftBehind == 0)
  if program == .forkChurn {
    // Every child's stack has been freed. What the clock completes before a batch is full depends on how fast the machine is.
    checks.check(
      "one invalidation serves at least 64 frees of stacks",
      (invalidations - agingInvalidations) * 64 <= figures.succeeded)
  }
  checks.check("no frame was lost", leaked == 0)
  checks.check("no kernel stack was lost", processes.kernelStackBytes == stackBytesAtStart)

  writeModelled(modelled)
  var json = JSONWriter(host.console)
  json.beginResult(options, host, in: processes)
  if program == .forkChurn {
    json.field("operations", options.operations)
    let instructions = Int(counted.instructions &- before.instructions)
    json.field("instructions", instructions / max(options.operations, 1))
  }
  json.field("forksAttempted", figures.attempted)
  json.field("forksSucceeded", figures.succeeded)
  if let failure = figures.firstFailure {
    json.field("firstFailure", describing: failure)
  } else {
    json.nullField("firstFailure")
  }
  json.field("framesPerFork", figures.largestFramesPerFork)
  json.field("tlbInvalidations", invalidations)
  json.field("tlbInstructions", Int(counted.tlbInstructions &- before.tlbInstructions))
  json.field("agingInvalidations", agingInvalidations)
  json.field("userInvalidations", userInvalidations)
  json.field("zeroedFramesShare", permille: zeroedPermille)
  if program == .forkAtOnce {
    // Those of the first process, and those of the processes that it forked.
    let cpus = processes.machine.cpuCount
    let forks = cpus * (1 + options.operations / cpus)
    json.field("cpus", cpus)
    json.field("instructionsPerFork", Int(counted.instructions &- before.instructions) / forks)
    json.field(
      "locksPerFork", permille: Int(counted.lockAcquisitions &- before.lockAcquisitions) * 1000 / forks)
    json.field("lockWaitsPerFork", permille: waits.total.count * 1000 / forks)
    json.field("lockWaitNanosecondsPerFork", waits.total.nanoseconds / forks)
    json.field("lockWaits", waits)
  }
  if program == .exhaustAndRecover { json.field("forksAfterRecovery", processes.noted(.forksAfterRecovery)) }
  if let failed = FailedCheck(rawValue: status) {
    json.field("failedCheck", failed.name)
  } else {
    json.nullField("failedCheck")
  }
  json.frameBalance(before: freeAtStart, leaked: leaked)
  json.end()
  return checks.allHeld
}

/// Checks that memory could be used up a second time.
///
/// Of children whose stacks do not grow, each takes as much as any other, but for page tables and, on several CPUs, free
/// frames in their lists. How much others take depends on ticks; see `exhaustAndRecover`.
private func checkRecovery<Parts: ScenarioParts, Console: TextSink>(
  _ checks: inout ScenarioChecks<Console>, _ options: ScenarioOptions, in processes: borrowing Processes<Parts>
) {
  if options.strategy != .linear {
    let record = processes.record
    let left = max(record.freeFramesAtFailure, record.freeFramesAtSecondFailure)
    checks.check(
      "forks succeeded until less was free than a fork takes, before and after recovery",
      left < processes.figures.largestFramesPerFork)
  }
  if options.strategy == .growing { return }
  let after = processes.noted(.forksAfterRecovery)
  let before = processes.figures.succeeded - after
  let allowance = processes.machine.cpuCount == 1 ? 0 : before / 64
  checks.check("as many forks succeeded after recovery", after >= before - allowance)
}
