// The options by name, with what each takes.

/// An option of a scenario.
public enum ScenarioOption: UInt8, Sendable {
  /// Which scenario.
  case scenario
  /// Where stacks come from.
  case strategy
  /// The seed.
  case seed
  /// RAM.
  case memory
  /// CPUs.
  case cpus
  /// NUMA nodes.
  case numaNodes
  /// Address bits.
  case virtualAddressBits
  /// The size of a stack.
  case stackSize
  /// The largest order left free.
  case largestFreeOrder
  /// The share left free.
  case freeShare
  /// The free blocks of a report.
  case freeBlocks
  /// Those of them that a request of the kernel may take.
  case usableBlocks
  /// How deep children go into growing stacks.
  case depths
  /// How growing stacks get their pages.
  case growth
  /// The number of operations.
  case operations
  /// The number of threads of the kernel.
  case threads
  /// Whether the liveness condition is to be broken.
  case breakCondition

  /// The name on a command line, without dashes.
  public var name: StaticString {
    switch self {
    case .scenario: "scenario"
    case .strategy: "strategy"
    case .seed: "seed"
    case .memory: "memory"
    case .cpus: "cpus"
    case .numaNodes: "numa-nodes"
    case .virtualAddressBits: "va-bits"
    case .stackSize: "stack-size"
    case .largestFreeOrder: "largest-free-order"
    case .freeShare: "free-share"
    case .freeBlocks: "free-blocks"
    case .usableBlocks: "usable-blocks"
    case .depths: "depths"
    case .growth: "growth"
    case .operations: "operations"
    case .threads: "threads"
    case .breakCondition: "break-condition"
    }
  }

  /// What it takes.
  public var accepts: StaticString {
    switch self {
    case .scenario: "the name of a scenario"
    case .strategy: "linear, vmalloc or growing"
    case .seed: "a number"
    case .memory: "a size such as 128M"
    case .cpus: "a number from 1"
    case .numaNodes: "a number from 1"
    case .virtualAddressBits: "39 or 48"
    case .stackSize: "a size in bytes, 8192 to 24576 in steps of 4096"
    case .largestFreeOrder: "0 or 1"
    case .freeShare: "percent: 1 to 50 for order 0, 1 to 75 for order 1"
    case .freeBlocks, .usableBlocks: "11 numbers of blocks, from order 0 to 10, with commas between them"
    case .depths: "typical or full"
    case .growth: "fault or lent"
    case .operations: "a number from 1"
    case .threads: "a number from 1"
    case .breakCondition: "yes or no"
    }
  }
}

#if !hasFeature(Embedded)
  extension ScenarioOption: CaseIterable {}
#endif
