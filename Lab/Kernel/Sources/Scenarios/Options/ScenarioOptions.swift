// What a scenario is told: the same options on the kernel's command line and on the host's.

import KernelStacks

/// How a growing stack gets the pages that its thread needs.
public enum GrowthMode: Sendable {
  /// When an access faults.
  case onFault
  /// All that it lacks are lent to it while it runs.
  case lent
}

/// The options of a scenario.
public struct ScenarioOptions: Sendable {
  /// Which scenario.
  public var scenario = ScenarioName.fragmentedFork
  /// Where stacks come from.
  public var strategy = StackStrategy.linear
  /// The seed of all random decisions.
  public var seed: UInt64 = 1
  /// RAM in bytes, if it was said; a real machine takes what its device tree says.
  public var givenMemoryBytes: Int?
  /// The number of CPUs, if it was said.
  public var givenCPUCount: Int?
  /// The number of NUMA nodes.
  public var nodeCount = 1
  /// Bits of a kernel address that are translated: 39 or 48.
  public var virtualAddressBits = 39
  /// A stack's size in bytes.
  public var stackSize = 16384
  /// `fragmented-fork`: the largest order that may stay free, 0 or 1.
  public var largestFreeOrder = 1
  /// `fragmented-fork`: how much of the free memory stays free, in percent.
  public var freeSharePercent = 50
  /// `fragmented-fork`: the free blocks of a report, which take the place of order and share.
  public var freeBlocks: BlockCounts?
  /// `fragmented-fork`: those of them that a request of the kernel may take; all, if not said.
  public var usableBlocks: BlockCounts?
  /// How deep children go into their kernel stacks where stacks grow.
  public var stackDepths = StackDepths.typical
  /// Growing stacks: how they get the pages that their threads need.
  public var growth = GrowthMode.onFault
  /// `fork-churn`: how many forks and exits.
  public var operations = 1000
  /// `pressure`: whether others take so much memory that threads cannot go on.
  public var breaksCondition = false
  /// How many threads of the kernel there are, if it was said.
  public var givenThreadCount: Int?

  /// The defaults.
  public init() {}

  /// RAM in bytes.
  public var memoryBytes: Int {
    get { givenMemoryBytes ?? scenario.defaultMemoryBytes }
    set { givenMemoryBytes = newValue }
  }

  /// The number of CPUs.
  public var cpuCount: Int {
    get { givenCPUCount ?? scenario.defaultCPUCount }
    set { givenCPUCount = newValue }
  }

  /// How many threads of the kernel there are.
  public var threadCount: Int {
    get { givenThreadCount ?? scenario.defaultThreadCount }
    set { givenThreadCount = newValue }
  }

  /// The largest free share that leaves no block above an order, in percent.
  ///
  /// Of each pair of buddies one frame must stay taken for order 0; of each group of four, one for order 1.
  public static func largestFreeShare(order: Int) -> Int { order == 0 ? 50 : 75 }
}

/// Why options were refused.
public enum ScenarioOptionError: Error, Equatable {
  /// A word without `=`.
  case noValue(ShortText)
  /// No option has this name.
  case unknownOption(ShortText)
  /// No scenario has this name.
  case unknownScenario(ShortText)
  /// The option does not take this value.
  case badValue(option: ScenarioOption, value: ShortText)
  /// Pages are lent to growing stacks only.
  case nothingToLend
  /// That much cannot stay free without a larger block.
  case impossibleFreeShare(percent: Int, largestFreeOrder: Int)
  /// More blocks are usable than free.
  case moreUsableThanFree
}
