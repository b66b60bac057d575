// The scenario `million-threads`: as many threads of the kernel as are asked for, all alive together, and every one of
// them is switched to. What the last ones cost is compared with what the first ones did.

import KernelProcesses
import KernelStacks

func runMillionThreads<Host: ScenarioHost>(
  _ options: ScenarioOptions, in processes: borrowing Processes<Host.Parts>, host: Host
) -> Bool {
  let start = ThreadScenarioStart(processes, host)
  let count = options.threadCount
  // What one costs is measured above 1,000 threads, and above all of them, by making 4,096 in a row; with less on a
  // small machine.
  let few = min(1000, count / 2)
  let sample = min(4096, count - few)
  processes.beginThreads(.rest, seed: options.seed)
  let early: Cost
  let late: Cost
  do throws(KernelThreadError) {
    try host.makeThreads(few, of: count, in: processes)
    early = try host.measureMaking(sample, in: processes)
    try host.makeThreads(count - few - sample, of: count, in: processes)
    late = try host.measureMaking(sample, in: processes)
  } catch { return start.abandon(error, in: processes, host: host) }

  // All begin, and sleep; then all end.
  let all = count + sample
  guard host.wakeThreads(in: processes) else { return false }
  host.writeProgress(all, of: all, "threads asleep")
  let live = processes.threadFigures.live
  let stackBytes = processes.kernelStackBytes - start.stackBytes
  let usedFrames = start.freeFrames - processes.frames.freeFrames
  let recordFrames = processes.threadRecordFrames
  let ownBytes = processes.stacks.metadataByteCount
  guard host.wakeThreads(in: processes) else { return false }

  // Tables of the stacks' addresses are part of what stacks cost, as are the allocator's own records.
  let stackTotal = (usedFrames - recordFrames) * pageSize + ownBytes
  let total = usedFrames * pageSize + ownBytes
  // Where CPUs touch lent pages at random, what that keeps is no stack's need.
  let untouchedBytes = (host.pagesKeptUntouched ?? 0) * pageSize
  let leaked = start.leakedFrames(processes, host)
  let verdicts = processes.threadVerdicts
  var checks = ScenarioChecks(host.console)
  checks.checkThreads(all, in: processes, since: start, leaked: leaked)
  checks.check("all threads were alive together", live == all)
  checks.check("every thread was switched to at least twice", verdicts.wokenOnce == 0)
  if options.strategy == .growing {
    checks.check(
      "stacks take at most 4.3 KiB of memory per thread", (stackTotal - untouchedBytes) * 10 <= all * 44032)
    checks.check(
      "everything takes at most 5 KiB of memory per thread", total - untouchedBytes <= all * 5120)
  }
  checks.check(
    "making a thread costs within 10 % of the same among the last as among the first",
    (late.mean - early.mean).magnitude * 10 <= early.mean)

  var json = JSONWriter(host.console)
  json.beginResult(options, host, in: processes)
  json.field("threads", all)
  json.field("threadsIntact", verdicts.intact)
  json.field("instructionsPerThreadAtFew", early.mean)
  json.field("instructionsPerThreadAtAll", late.mean)
  json.field("stackBytes", stackBytes)
  json.field("stackBytesPerThread", (stackTotal + all - 1) / all)
  json.field("bytesPerThread", (total + all - 1) / all)
  json.frameBalance(before: start.freeFrames, leaked: leaked)
  json.end()
  return checks.allHeld
}

extension ScenarioHost {
  /// Makes threads, and counts the instructions of each.
  fileprivate func measureMaking(
    _ count: Int, in processes: borrowing Processes<Parts>
  ) throws(KernelThreadError) -> Cost {
    let machine = processes.machine
    // Whether there are zeroed frames depends on who is idle; here all have to be cleared.
    processes.frameAllocator.pauseClearing()
    defer { processes.frameAllocator.resumeClearing() }
    processes.frameAllocator.drain()
    _ = StackBenchmark<M>.measured(machine, nothing: Cost()) {}
    let empty = StackBenchmark<M>.measured(machine, nothing: Cost()) {}
    var total = Cost()
    for _ in 0..<count {
      var failure: KernelThreadError?
      total.add(
        StackBenchmark<M>.measured(machine, nothing: empty) {
          do throws(KernelThreadError) {
            prepare(try processes.makeThread(), in: processes)
          } catch { failure = error }
        })
      if let failure { throw failure }
    }
    return total
  }
}

extension Processes where Parts: ScenarioParts {
  /// How many frames hold the records of threads, if none of these has ended.
  fileprivate var threadRecordFrames: Int {
    (threadFigures.live + KernelThread.countPerFrame - 1) / KernelThread.countPerFrame
  }
}
