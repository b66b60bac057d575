// The scenario `pressure`: threads grow, sleep, are shrunk and grow again while a process takes memory and gives it
// back.
//
// Liveness condition. Live stack pages and (pages of a stack − 1) frames for each CPU fit into the memory that others
// don't hold. In every round a wave of threads is woken; each of them can come to need all pages of its stack, all
// others sleep at the top of theirs, with one page that is not dead:
//
//     free + dead pages of sleepers + caches + reserves  ≥  wave · (pages − 1) + CPUs · (pages − 1)
//
// So the other one may take what is above that, and no more: often all that is free, so that each page that a thread
// grows by has to come out of the stack of one that sleeps. With the condition broken it takes all there is, and threads go
// down and sleep there, until none can run.

import KernelProcesses
import KernelStacks
import SeededRandom

func runPressure<Host: ScenarioHost>(
  _ options: ScenarioOptions, in processes: borrowing Processes<Host.Parts>, host: Host
) -> Bool {
  guard options.strategy == .growing else {
    writeError(PressureError.needsGrowingStacks, to: host.console)
    return false
  }
  let start = ThreadScenarioStart(processes, host)
  let count = options.threadCount
  let surplus = SurplusMemory(beyond: Pressure.mostFrames, of: processes)
  defer { surplus.release(in: processes) }
  processes.beginThreads(options.breaksCondition ? .sink : .surge, seed: options.seed)
  do throws(KernelThreadError) {
    try host.makeThreads(count, of: count, in: processes)
  } catch { return start.abandon(error, in: processes, host: host) }

  var pressure = Pressure(options, stackPages: processes.stacks.geometry.pageCount)
  if options.breaksCondition {
    pressure.others.take(Int.max, from: processes)
    // The machine reports that threads stall, and this is not reached, or false.
    guard host.wakeThreads(in: processes) else { return false }
    pressure.others.give(Int.max, to: processes)
    writeError(PressureError.noStall, to: host.console)
    return false
  }
  while processes.threadFigures.live > 0 {
    guard pressure.runRound(in: processes, host: host) else { return false }
  }
  pressure.others.give(Int.max, to: processes)
  surplus.release(in: processes)

  let leaked = start.leakedFrames(processes, host)
  var checks = ScenarioChecks(host.console)
  checks.checkThreads(count, in: processes, since: start, leaked: leaked)
  checks.check("the liveness condition held in every round", pressure.brokenRounds == 0)
  checks.check("stacks were shrunk, and grew again", pressure.shrunkThreads > 0 && pressure.grownPages > count)
  var json = JSONWriter(host.console)
  json.beginResult(options, host, in: processes)
  json.field("threads", count)
  json.field("threadsIntact", processes.threadVerdicts.intact)
  json.field("rounds", pressure.rounds)
  json.field("window", pressure.wave)
  json.field("grownPages", pressure.grownPages)
  json.field("shrunkThreads", pressure.shrunkThreads)
  json.field("heldBytes", pressure.largestHeld * pageSize)
  json.field("leastFreeBytes", pressure.leastFree * pageSize)
  json.frameBalance(before: start.freeFrames, leaked: leaked)
  json.end()
  return checks.allHeld
}

/// Why the scenario is not what was asked for.
enum PressureError: Error, TextDescribable {
  case needsGrowingStacks
  case noStall

  func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .needsGrowingStacks: sink.write("only growing stacks can be put under pressure: add strategy=growing")
    case .noStall: sink.write("the liveness condition was broken, and yet there was no stall")
    }
  }
}

/// Rounds of waking threads and taking memory.
struct Pressure {
  /// How much memory is taken and given back at most, in frames, each of which is written to: 2 GiB.
  static var mostFrames: Int { 2 << 18 }

  /// Who else wants memory.
  var others = MemoryHolder()
  /// How many threads are woken together.
  let wave: Int
  private let morePages: Int
  private var random: SplitMix64
  private(set) var rounds = 0
  private(set) var brokenRounds = 0
  /// The most that others held.
  private(set) var largestHeld = 0
  /// The least that was free.
  private(set) var leastFree = Int.max
  private(set) var grownPages = 0
  /// The most threads whose stacks had been deeper, and had given pages back.
  private(set) var shrunkThreads = 0

  init(_ options: ScenarioOptions, stackPages: Int) {
    morePages = stackPages - 1
    wave = max(4, options.threadCount / 16)
    random = SplitMix64(seed: options.seed)
  }

  /// What sleepers' stacks have below their top pages, which they need no more; all threads sleep at the top.
  private mutating func deadPages<Parts: ScenarioParts>(_ processes: borrowing Processes<Parts>) -> Int {
    var pages = 0
    var shrunk = 0
    processes.forEachThread { thread in
      if thread.pointee.state == .asleep, let base = thread.pointee.stack?.base {
        let mapped = processes.stacks.mappedPageCount(base)
        pages += mapped - 1
        if mapped < processes.stacks.highWaterPageCount(base) { shrunk += 1 }
      }
    }
    shrunkThreads = max(shrunkThreads, shrunk)
    return pages
  }

  /// Wakes a wave of threads, by seed, and takes and gives memory while they run.
  ///
  /// - Returns: whether all of them have come to sleep, or ended.
  mutating func runRound<Host: ScenarioHost>(in processes: borrowing Processes<Host.Parts>, host: Host) -> Bool
  {
    rounds += 1
    // What lies in caches is as good as free.
    processes.reclaim()
    let dead = deadPages(processes)
    let free = processes.frames.freeFrames
    let reserved = processes.stacks.reservedFrameCount
    let cpus = processes.machine.cpuCount
    if free + dead + reserved < (wave + cpus) * morePages { brokenRounds += 1 }
    let mayHold = max(0, others.count + free + dead + reserved - (wave + cpus) * morePages)
    let grownBefore = processes.stacks.grownPageCount

    // Of those that sleep as many as the wave holds, beginning somewhere in the list.
    let live = processes.threadFigures.live
    hold(random.next(below: 4) > 0 ? mayHold : random.next(below: mayHold + 1), processes)
    var left = min(wave, live)
    var skipped = live > left ? random.next(below: live - left + 1) : 0
    processes.visitThreads()
    while left > 0,
      processes.wakeNext(
        where: { _ in
          skipped -= 1
          return skipped < 0
        }, resume: { host.resume($0, in: processes) })
    {
      left -= 1
      switch random.next(below: 32) {
      case 0: hold(random.next(below: mayHold + 1), processes)
      case 1: hold(mayHold, processes)
      case 2, 3: host.letThreadsRun(in: processes)
      default: break
      }
    }
    guard host.awaitThreads(in: processes) else { return false }
    grownPages += processes.stacks.grownPageCount - grownBefore
    if rounds % 64 == 0 {
      let verdicts = processes.threadVerdicts
      host.writeProgress(
        verdicts.intact + verdicts.damaged, of: processes.threadFigures.made, "threads ended")
    }
    return true
  }

  private mutating func hold<Parts: ScenarioParts>(_ count: Int, _ processes: borrowing Processes<Parts>) {
    if count > others.count {
      others.take(count - others.count, from: processes)
    } else {
      others.give(others.count - count, to: processes)
    }
    largestHeld = max(largestHeld, others.count)
    leastFree = min(leastFree, processes.frames.freeFrames)
  }
}

/// A process that takes frames and gives them back; each frame names the one that was taken before it.
struct MemoryHolder {
  /// How many frames are held.
  private(set) var count = 0
  private var last: UInt = 0

  /// Takes frames, as many as there are.
  mutating func take<Parts: ScenarioParts>(_ wanted: Int, from processes: borrowing Processes<Parts>) {
    var left = wanted
    while left > 0, let frame = try? processes.frames.allocate(FrameRequest(purpose: .other)) {
      processes.machine.pointer(to: frame.physicalAddress).storeBytes(of: last, as: UInt.self)
      last = frame.physicalAddress.rawValue
      count += 1
      left -= 1
    }
  }

  /// Gives frames back, the last one first.
  mutating func give<Parts: ScenarioParts>(_ wanted: Int, to processes: borrowing Processes<Parts>) {
    var left = wanted
    while left > 0, count > 0 {
      let address = PhysicalAddress(last)
      last = processes.machine.pointer(to: address).load(as: UInt.self)
      returnFrame(address.frame, to: processes.frames)
      count -= 1
      left -= 1
    }
  }
}
