// Threads of the kernel on the simulated machine: the cost of their records and stacks, the mistakes found, the frames left.

import KernelStacks
import SimulatedMachine
import Testing

@testable import KernelProcesses
@testable import Scenarios
@testable import SimulatedScenarios

@Suite struct KernelThreadTests {
  static let strategies: [StackStrategy] = [.linear, .vmalloc, .growing]

  @Test(arguments: [ScenarioName.deepRecursion, .millionThreads, .stackDepths], strategies)
  func `Thread scenarios pass their own checks with every strategy`(
    _ scenario: ScenarioName, _ strategy: StackStrategy
  ) throws {
    for seed: UInt64 in 1...4 {
      var options = ScenarioOptions.small(scenario, strategy, seed: seed)
      options.memoryBytes = 8 << 20
      options.threadCount = 120
      let run = try ScenarioRun(options)
      #expect(run.passed, "seed \(seed): \(run.problems)")
      let result = try run.result
      let all = scenario == .millionThreads ? 180 : 120
      #expect(result["threads"] as? Int == all && result["threadsIntact"] as? Int == all)
      #expect(result["leakedFrames"] as? Int == 0)
    }
  }

  @Test(arguments: [8192, 12288, 24576], [GrowthMode.onFault, .lent])
  func `Threads go down stacks of every size`(_ size: Int, _ growth: GrowthMode) throws {
    var options = ScenarioOptions.small(.deepRecursion, .growing)
    options.growth = growth
    options.stackSize = size
    options.threadCount = 60
    let run = try ScenarioRun(options)
    #expect(run.passed, "\(run.problems)")
  }

  @Test(arguments: [ScenarioName.deepRecursion, .millionThreads, .stackDepths])
  func `Thread scenarios pass their own checks with lent pages, and tell which CPUs kept by speculation`(
    _ scenario: ScenarioName
  ) throws {
    var kept = 0
    for seed: UInt64 in 1...4 {
      var options = ScenarioOptions.small(scenario, .growing, seed: seed)
      options.growth = .lent
      options.memoryBytes = 8 << 20
      options.threadCount = 120
      let run = try ScenarioRun(options)
      #expect(run.passed, "seed \(seed): \(run.problems)")
      let result = try run.result
      #expect(result["threadsIntact"] as? Int == (scenario == .millionThreads ? 180 : 120))
      #expect(result["leakedFrames"] as? Int == 0 && result["growth"] as? String == "lent")
      kept += try #require(result["pagesKeptUntouched"] as? Int)
    }
    #expect(kept > 0)
  }

  @Test(arguments: [1, 3], [GrowthMode.onFault, .lent])
  func `Threads under pressure all finish while the liveness condition holds`(
    _ cpuCount: Int, _ growth: GrowthMode
  ) throws {
    for seed: UInt64 in 1...4 {
      var options = ScenarioOptions.small(.pressure, .growing, seed: seed)
      options.growth = growth
      options.threadCount = 60
      options.cpuCount = cpuCount
      let run = try ScenarioRun(options)
      #expect(run.passed, "seed \(seed): \(run.problems)")
      let result = try run.result
      #expect(result["threadsIntact"] as? Int == 60 && result["leakedFrames"] as? Int == 0, "seed \(seed)")
      #expect(try #require(result["shrunkThreads"] as? Int) > 0, "seed \(seed)")
      #expect(try #require(result["leastFreeBytes"] as? Int) == 0, "seed \(seed)")
    }
  }

  @Test(arguments: [1, 2], [GrowthMode.onFault, .lent])
  func `A broken liveness condition ends in one report of who waits for how much`(
    _ cpuCount: Int, _ growth: GrowthMode
  ) throws {
    var options = ScenarioOptions.small(.pressure, .growing)
    options.growth = growth
    options.threadCount = 40
    options.breaksCondition = true
    options.cpuCount = cpuCount
    var lines: [String] = []
    #expect(try !runSimulated(options) { lines.append($0) })
    #expect(lines.count { $0.hasPrefix("stall: ") } == 1)
    let waiting = lines.count { $0.hasPrefix("  task ") && $0.contains(" waits for ") }
    #expect((30..<40).contains(waiting))
    #expect(lines.contains { $0.contains("no task can run, and no memory can be given back") })
    #expect(!lines.contains { $0.contains("\"result\"") })
  }

  @Test(arguments: [StackStrategy.linear, .vmalloc]) func `Only growing stacks can be put under pressure`(
    _ strategy: StackStrategy
  ) throws {
    let run = try ScenarioRun(.small(.pressure, strategy))
    #expect(run.problems == ["only growing stacks can be put under pressure: add strategy=growing"])
  }

  @Test(arguments: [2, 4]) func `Threads find their frames wherever they run`(_ cpuCount: Int) throws {
    for strategy in Self.strategies {
      var options = ScenarioOptions.small(.deepRecursion, strategy, seed: 5)
      options.memoryBytes = 8 << 20
      options.threadCount = 60
      options.cpuCount = cpuCount
      let run = try ScenarioRun(options)
      #expect(run.passed, "\(strategy): \(run.problems)")
    }
  }

  @Test(arguments: strategies)
  func `High-water marks are those of the threads' depths, and no page is faulted in to find them`(
    _ strategy: StackStrategy
  ) throws {
    var options = ScenarioOptions.small(.stackDepths, strategy)
    options.threadCount = 150
    options.memoryBytes = 8 << 20
    let run = try ScenarioRun(options)
    #expect(run.passed, "\(run.problems)")
    let marks = run.objects.filter { $0["type"] as? String == "stack" }
    let bytes = marks.compactMap { $0["highWaterBytes"] as? Int }
    #expect(marks.compactMap { $0["thread"] as? Int } == Array(0..<150))
    let result = try run.result
    let histogram = try #require(result["highWaterHistogram"] as? [Int])
    #expect(histogram == (0..<16).map { kib in bytes.count { ($0 - 1) / 1024 == kib } })
    #expect(result["deepestBytes"] as? Int == bytes.max() && (bytes.max() ?? 0) > 12 << 10)
    #expect(result["withinFirstPage"] as? Int == bytes.count { $0 <= 4096 })
    for mark in marks {
      let pages = try #require(mark["mappedPages"] as? Int)
      let used = try #require(mark["highWaterBytes"] as? Int)
      #expect(pages == (strategy == .growing ? max(1, (used + 4095) / 4096) : 4))
    }
  }

  @Test func `Memory too small for the threads is an error with figures, and all is given back`() throws {
    var options = ScenarioOptions.small(.deepRecursion, .vmalloc)
    options.threadCount = 5000
    let run = try ScenarioRun(options)
    #expect(!run.passed)
    #expect(run.problems.count == 1 && run.problems[0].contains("refused: 0 bytes free"), "\(run.problems)")
  }

  @Test func `Ten records share a frame, and the last one's end gives it back`() throws {
    try withProcesses(.small(.deepRecursion, .growing)) { processes, _ in
      processes.beginThreads(.rest, seed: 1)
      processes.settle()
      let free = processes.frames.freeFrames
      var recordFrames: Set<PageFrame> = []
      for _ in 0..<20 { recordFrames.insert(try processes.makeThread().pointee.physicalAddress.frame) }
      #expect(recordFrames.count == 2)
      // 20 pages of stack, 2 frames of records, tables of the stacks' addresses.
      #expect((23...24).contains(free - processes.frames.freeFrames))
      processes.discardThreads()
      processes.settle()
      #expect(processes.frames.freeFrames == free)
      #expect(processes.threadFigures.live == 0 && processes.threadFigures.made == 20)
    }
  }

  @Test(arguments: strategies) func `A refused allocation leaves nothing of a thread`(_ strategy: StackStrategy)
    throws
  {
    try withProcesses(.small(.deepRecursion, strategy)) { processes, _ in
      processes.beginThreads(.rest, seed: 1)
      var number = 1
      while number < 20 {
        processes.settle()
        let free = processes.frames.freeFrames
        processes.frameWatch.pointee.refuse(allocation: number, andAllAfter: true)
        defer { number += 1 }
        let thread = try? processes.makeThread()
        processes.frameWatch.pointee.allowAll()
        if thread != nil { break }
        processes.settle()
        #expect(processes.frames.freeFrames == free && processes.threadFigures.live == 0)
      }
      #expect(number > 2 && number < 20, "each allocation was refused, then none")
      processes.discardThreads()
    }
  }

  /// Makes threads that rest, and runs them until they sleep in their frame.
  private func withSleepers(
    _ count: Int,
    _ body: (borrowing Processes<SimulatedParts>, SimulatedThreads, [KernelThreadPointer]) throws -> Void
  ) throws {
    try withProcesses(.small(.deepRecursion, .growing)) { processes, kernel in
      processes.beginThreads(.rest, seed: 1)
      let threads = SimulatedThreads(kernel: kernel, seed: 1)
      var made: [KernelThreadPointer] = []
      for _ in 0..<count {
        made.append(try processes.makeThread())
        threads.prepare(made.last!)
      }
      wakeAll(processes, threads)
      #expect(processes.threadFigures.live == count && processes.threadFigures.awake == 0)
      try body(processes, threads, made)
      wakeAll(processes, threads)
      #expect(processes.threadFigures.live == 0)
    }
  }

  private func wakeAll(_ processes: borrowing Processes<SimulatedParts>, _ threads: SimulatedThreads) {
    processes.visitThreads()
    while processes.wakeNext(where: { _ in true }, resume: { threads.resume($0) }) {}
    threads.run()
  }

  @Test(arguments: [0, 5, 9]) func `A changed word in a sleeping thread's frame is found`(_ victim: Int) throws
  {
    try withSleepers(10) { processes, threads, made in
      let top = try #require(made[victim].pointee.stack?.usableRange.top)
      let found = processes.stacks.page(of: top - 8)
      let page = try #require(found)
      let words = processes.machine.pointer(to: page.physicalAddress).assumingMemoryBound(to: UInt64.self)
      let index = try #require((0..<504).first { words[$0] != 0 })
      words[index] ^= 1
      wakeAll(processes, threads)
      #expect(processes.threadVerdicts.damaged == 1 && processes.threadVerdicts.intact == 9)
    }
  }

  @Test func `A walk goes on although the thread that it stands at ends`() throws {
    try withSleepers(6) { processes, threads, made in
      processes.visitThreads()
      var woken: [KernelThreadPointer] = []
      let isFirstWoken = processes.wakeNext(where: { $0 == made[1] }, resume: { woken.append($0) })
      // The walk stands at the third thread, which is taken away.
      _ = processes.threadHasStopped(made[2])
      while processes.wakeNext(where: { _ in true }, resume: { woken.append($0) }) {}
      #expect(isFirstWoken && woken == [made[1], made[3], made[4], made[5]])
      for thread in woken { threads.resume(thread) }
      threads.run()
      #expect(processes.threadFigures.live == 1)
    }
  }
}
