// The list of scenarios, shared by the kernel's command line and the host command.

import ByteText

/// A workload that runs on any machine, or a check of what only a real machine can show.
public enum ScenarioName: UInt8, Sendable {
  /// Fork to exhaustion in memory that lies in pieces.
  case fragmentedFork
  /// Random forks and exits.
  case forkChurn
  /// Forks and exits on all CPUs at once.
  case forksAtOnce
  /// Every allocation on fork's path fails in turn.
  case exhaustion
  /// Fork to exhaustion, give all back, and once more.
  case recovery
  /// Parent and child write the same copy-on-write page.
  case isolation
  /// EL0 touches kernel memory.
  case kernelMemory
  /// What stacks cost.
  case bench
  /// Threads of the kernel go to random depths.
  case deepRecursion
  /// As many threads of the kernel as memory has room for.
  case millionThreads
  /// Some tasks overflow their stacks while others go on.
  case overflow
  /// Workloads for the vmalloc area.
  case vmallocSuite
  /// How deep each thread of the kernel has been.
  case stackDepths
  /// Threads of the kernel grow and are shrunk while memory runs out and returns.
  case pressure
  /// Everything at once on all CPUs.
  case smpStorm
  /// Threads of the kernel take turns.
  case switching

  /// The name on a command line.
  public var name: StaticString {
    switch self {
    case .fragmentedFork: "fragmented-fork"
    case .forkChurn: "fork-churn"
    case .forksAtOnce: "forks-at-once"
    case .exhaustion: "exhaustion"
    case .recovery: "recovery"
    case .isolation: "isolation"
    case .kernelMemory: "kernel-memory"
    case .bench: "bench"
    case .deepRecursion: "deep-recursion"
    case .millionThreads: "million-threads"
    case .overflow: "overflow"
    case .vmallocSuite: "vmalloc-suite"
    case .stackDepths: "stack-depths"
    case .pressure: "pressure"
    case .smpStorm: "smp-storm"
    case .switching: "switching"
    }
  }

  /// What it does, in one line.
  public var summary: StaticString {
    switch self {
    case .fragmentedFork: "break free memory into pieces, then fork until memory ends"
    case .forkChurn: "fork and exit at random; nothing may leak"
    case .forksAtOnce: "fork and exit on all CPUs at once, and count locks and what waiting for them takes"
    case .exhaustion: "refuse every allocation on fork's path in turn; nothing may change"
    case .recovery: "fork until memory ends, give everything back, fork as often again"
    case .isolation: "parent and child write one copy-on-write page and must not see each other"
    case .kernelMemory: "a process that touches kernel memory must be killed"
    case .bench: "count the instructions of each stack operation"
    case .deepRecursion: "threads of the kernel go to random depths and check every frame on the way back"
    case .pressure: "grow, sleep, be shrunk and grow again while memory runs out and returns"
    case .smpStorm: "fork, exit, grow, shrink, reclaim and vmalloc on all CPUs at once; no word is lost"
    case .switching: "switch to threads in turn, and count what each switch costs and misses"
    case .stackDepths: "list how deep each thread of the kernel has been, while all live"
    case .millionThreads: "hold a million threads of the kernel in 8 GiB, and switch through every one"
    case .overflow: "let some tasks overflow their stacks; they die, and all others go on"
    case .vmallocSuite:
      "allocate and free areas of the vmalloc area, in seven workloads, and count what it costs"
    }
  }

  /// The number of threads if no option sets it; 0 for scenarios without threads of the kernel.
  public var defaultThreadCount: Int {
    switch self {
    case .deepRecursion, .pressure: 1000
    case .millionThreads: 1_000_000
    case .overflow: 24
    case .smpStorm: 48
    case .stackDepths: 200
    case .switching: 10_000
    default: 0
    }
  }

  /// Whether an option changes anything about it; what machine it runs on, and with what stacks, is a matter of all.
  public func uses(_ option: ScenarioOption) -> Bool {
    switch option {
    case .largestFreeOrder, .freeShare, .freeBlocks, .usableBlocks: self == .fragmentedFork
    case .operations: self == .forkChurn || self == .forksAtOnce || self == .vmallocSuite || self == .smpStorm
    case .threads: defaultThreadCount > 0
    case .breakCondition: self == .pressure
    default: true
    }
  }

  /// Whether it is about growing stacks alone: others are run only when they are asked for.
  public var isAboutGrowth: Bool { self == .millionThreads || self == .pressure }

  /// The amount of RAM in bytes, if no option sets it.
  public var defaultMemoryBytes: Int {
    switch self {
    case .millionThreads: 8 << 30
    case .vmallocSuite, .switching: 512 << 20
    default: 128 << 20
    }
  }

  /// Whether a memory model outside the machine can watch what it measures.
  public var isModelled: Bool { self == .bench || self == .switching || self == .forkChurn }

  /// The number of CPUs if no option sets it.
  public var defaultCPUCount: Int { self == .smpStorm ? 4 : 1 }

  /// The scenario with this name.
  public init?(named text: UnsafeRawBufferPointer) {
    guard let scenario = firstCase(of: Self.self, where: { text.equals($0.name) }) else { return nil }
    self = scenario
  }
}

#if !hasFeature(Embedded)
  extension ScenarioName: CaseIterable {}
#endif
