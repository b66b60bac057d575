// The scenario `stack-depths`: how deep each thread has been, told while all of them live, and without a fault.

import KernelProcesses
import KernelStacks

func runStackDepths<Host: ScenarioHost>(
  _ options: ScenarioOptions, in processes: borrowing Processes<Host.Parts>, host: Host
) -> Bool {
  let start = ThreadScenarioStart(processes, host)
  let count = options.threadCount
  processes.beginThreads(.dive, seed: options.seed)
  do throws(KernelThreadError) {
    try host.makeThreads(count, of: count, in: processes)
  } catch { return start.abandon(error, in: processes, host: host) }

  // All go down and sleep there; then all come back, and sleep at the top of their stacks.
  guard host.wakeThreads(in: processes), host.wakeThreads(in: processes) else { return false }
  let freeBefore = processes.frames.freeFrames
  var depths = StackDepthList(stackSize: options.stackSize)
  var json = JSONWriter(host.console)
  processes.forEachThread { thread in
    guard let base = thread.pointee.stack?.base else { return }
    let pages = processes.stacks.mappedPageCount(base)
    let bytes = processes.stacks.highWaterByteCount(base)
    depths.add(pages: pages, byteCount: bytes, of: thread)
    json.begin("stack")
    json.field("thread", Int(thread.pointee.number))
    json.field("mappedPages", pages)
    json.field("highWaterBytes", bytes)
    json.end()
  }
  let faultedIn = freeBefore - processes.frames.freeFrames
  guard host.wakeThreads(in: processes) else { return false }

  let leaked = start.leakedFrames(processes, host)
  var checks = ScenarioChecks(host.console)
  checks.checkThreads(count, in: processes, since: start, leaked: leaked)
  checks.check("every thread was listed while it lived", depths.count == count)
  checks.check("no high-water mark is above what its thread has used", depths.belowUse == 0)
  checks.check("no high-water mark is below what is mapped", depths.beyondPages == 0)
  checks.check("listing took no page", faultedIn == 0)
  json.beginResult(options, host, in: processes)
  json.field("threads", count)
  json.field("threadsIntact", processes.threadVerdicts.intact)
  json.field("mappedPages", depths.pages)
  json.field("deepestBytes", depths.deepestByteCount)
  json.field("withinFirstPage", depths.withinFirstPage)
  json.beginNumbers("highWaterHistogram")
  for bucket in 0..<depths.bucketCount { json.number(depths.buckets[bucket]) }
  json.endNumbers()
  json.frameBalance(before: start.freeFrames, leaked: leaked)
  json.end()
  return checks.allHeld
}

/// High-water marks, counted by KiB.
struct StackDepthList {
  /// How many stacks were listed.
  private(set) var count = 0
  /// Their mapped pages.
  private(set) var pages = 0
  private(set) var deepestByteCount = 0
  /// How many have used no more than 4 KiB.
  private(set) var withinFirstPage = 0
  /// How many marks there are whose threads went further than the mark says.
  private(set) var belowUse = 0
  /// How many marks there are that lie beyond what is mapped.
  private(set) var beyondPages = 0
  /// Bucket n counts marks above n KiB, up to n + 1 KiB.
  private(set) var buckets = InlineArray<24, Int>(repeating: 0)
  let bucketCount: Int

  init(stackSize: Int) { bucketCount = min(24, stackSize / 1024) }

  mutating func add(pages: Int, byteCount: Int, of thread: KernelThreadPointer) {
    count += 1
    self.pages += pages
    deepestByteCount = max(deepestByteCount, byteCount)
    if byteCount <= pageSize { withinFirstPage += 1 }
    if byteCount < thread.pointee.deepestByteCount { belowUse += 1 }
    if byteCount > pages * pageSize { beyondPages += 1 }
    buckets[min(bucketCount - 1, max(0, (byteCount - 1) / 1024))] += 1
  }
}
