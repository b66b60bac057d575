// What the maker of an allocator chooses: strategy, sizes, bounds. Everything is checked once, when it is made.

/// Where the memory of a stack comes from.
public enum StackStrategy: UInt8, Equatable, Sendable {
  /// One physically contiguous block in the linear map. Refused when memory is in pieces; has no guard.
  case linear
  /// Single frames mapped into a slot of the vmalloc area, with an unmapped guard below.
  case vmalloc
  /// One frame at the top of such a slot; more come from the CPU's reserve when the thread goes deeper.
  ///
  /// The kernel around it asks ``ThreadStackAllocator/prepareToRun(_:mayTakeFrames:)`` before it switches to a thread,
  /// and ``StackGrower`` when a thread faults.
  case growing

  /// The strategy's name, as on command lines and in results.
  public var name: StaticString {
    switch self {
    case .linear: "linear"
    case .vmalloc: "vmalloc"
    case .growing: "growing"
    }
  }
}

/// At which end of its stack a thread's `thread_info` lies.
public enum ThreadInfoPlacement: UInt8, Equatable, Sendable {
  /// At the lowest address, where the stack would end last.
  case base
  /// At the highest addresses, above the first frame.
  case top
}

/// What kind of stacks an allocator gives, and how many it keeps at hand.
///
/// The values are checked when an allocator is made; ``StackConfigurationError`` says what contradicts what.
public struct StackConfiguration: Sendable {
  /// Where the memory comes from.
  public var strategy: StackStrategy
  /// The size of a stack in bytes, `thread_info` included: a multiple of 4,096 up to ``maximumSize``; for
  /// ``StackStrategy/linear`` a power of two.
  public var size: Int
  /// The least number of unmapped bytes below each stack: a multiple of 4,096, at least as large as the largest
  /// stack frame in the image.
  ///
  /// A slot is the power of two that holds it and the stack. ``StackStrategy/linear`` has no guard and ignores
  /// it.
  public var guardMinimum: Int
  /// What the first slot's address is above a multiple of the slot size: 0, or at least `size` and below the
  /// slot size; a multiple of 4,096.
  ///
  /// 0 for ``StackStrategy/linear``.
  public var phase: Int
  /// At which end of the stack `thread_info` lies; for ``StackStrategy/growing`` the top, for the base is not mapped.
  public var threadInfoPlacement: ThreadInfoPlacement
  /// The bytes kept for `thread_info`: a multiple of 16, at most a quarter of the stack.
  public var threadInfoSize: Int
  /// How many stacks in slots can exist at a time; `nil`: as many as the memory can hold.
  public var capacity: Int?
  /// How many freed stacks each CPU keeps mapped: 0…``maximumCachedStacksPerCPU``.
  public var cachedStacksPerCPU: Int
  /// How many freed stacks the depot that CPUs share keeps mapped, at most: 0…``maximumDepotStacks``.
  ///
  /// It keeps no more than were lately wanted at a time.
  public var depotStacks: Int
  /// How many unmapped stacks one TLB invalidation serves: 1…``maximumRetirementBatch``.
  public var retirementBatch: Int
  /// How many groups of threads there can be whose stack memory is limited: 0…``maximumStackGroups``; 0 for
  /// ``StackStrategy/linear``.
  public var stackGroups: Int
  /// Whether CPUs keep reserves that ``StackStrategy/growing`` stacks grow from.
  ///
  /// `false` for a kernel that lends pages from frames of its own, as Linux does. Then nothing grows through this allocator:
  /// the kernel itself writes entries of pages that a running thread lacks, and empties those that it takes back.
  public var keepsReserves: Bool
  /// Called with the base of a stack whose owner was dropped without freeing it; the stack is lost.
  ///
  /// It may be called with interrupts off.
  public var leakHandler: (@convention(c) (UInt) -> Void)?

  /// The largest stack: 256 KiB.
  public static var maximumSize: Int { 256 << 10 }
  /// The largest slot, guard included: what one last-level table maps, 2 MiB.
  public static var maximumStride: Int { 2 << 20 }
  /// The largest ``cachedStacksPerCPU``.
  public static var maximumCachedStacksPerCPU: Int { 64 }
  /// The largest ``depotStacks``.
  public static var maximumDepotStacks: Int { 4096 }
  /// The largest ``retirementBatch``.
  public static var maximumRetirementBatch: Int { 256 }

  /// The largest ``stackGroups``.
  public static var maximumStackGroups: Int { 1024 }
  /// How many frames of a group's limit a CPU is given in advance.
  public static var chargeBatch: Int { GroupAccounts.batch }

  /// Chooses a strategy and a size; all else has defaults.
  ///
  /// `thread_info` lies at the base, or, for ``StackStrategy/growing``, at the top.
  public init(
    _ strategy: StackStrategy = .linear,
    size: Int = 16 << 10,
    guardMinimum: Int = 4096,
    phase: Int = 0,
    threadInfoPlacement: ThreadInfoPlacement? = nil,
    threadInfoSize: Int = 64,
    capacity: Int? = nil,
    cachedStacksPerCPU: Int = 8,
    depotStacks: Int = 256,
    retirementBatch: Int = 64,
    stackGroups: Int = 0,
    keepsReserves: Bool = true,
    leakHandler: (@convention(c) (UInt) -> Void)? = nil
  ) {
    self.strategy = strategy
    self.size = size
    self.guardMinimum = guardMinimum
    self.phase = phase
    self.threadInfoPlacement = threadInfoPlacement ?? (strategy == .growing ? .top : .base)
    self.threadInfoSize = threadInfoSize
    self.capacity = capacity
    self.cachedStacksPerCPU = cachedStacksPerCPU
    self.depotStacks = depotStacks
    self.retirementBatch = retirementBatch
    self.stackGroups = stackGroups
    self.keepsReserves = keepsReserves
    self.leakHandler = leakHandler
  }
}
