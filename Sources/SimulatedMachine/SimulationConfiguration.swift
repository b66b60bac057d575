// The configuration of a simulated machine, and the errors of making or running one.

import KernelMachine

/// A contiguous range of simulated physical memory.
public struct MemoryBank: Equatable, Sendable {
  /// The physical address of its first byte, a multiple of 4,096.
  public var start: PhysicalAddress
  /// Its length in bytes, a positive multiple of 4,096.
  public var byteCount: Int
  /// Its NUMA node.
  public var node: NodeID

  /// Makes a bank; ``Simulation`` checks it.
  public init(start: PhysicalAddress, byteCount: Int, node: NodeID = NodeID(0)) {
    self.start = start
    self.byteCount = byteCount
    self.node = node
  }

  /// The first physical address above the bank.
  public var end: PhysicalAddress { start + byteCount }

  /// The first frame.
  public var firstFrame: PageFrame { start.frame }

  /// The length in frames.
  public var frameCount: Int { byteCount >> pageShift }
}

/// The contents of memory before the first store.
public enum InitialContents: Sendable {
  /// Words that look like valid page-table entries pointing outside memory, as after a warm reset.
  case garbage
  /// Zero, which costs the host nothing until it is touched.
  case zero
}

/// The movement of a run's bodies between CPUs: a tick may move a thread between any two of its machine calls while its
/// interrupts are on.
public enum ThreadMigration: Sendable {
  /// Each stays on its CPU.
  case none
  /// They move; a CPU completes all that its thread did before the thread continues elsewhere (DSB ISH).
  case completing
  /// They move, and a CPU completes the stores only (DSB ISHST), as a kernel with a mistake does.
  case publishingOnly
}

/// The configuration of a simulated machine.
public struct SimulationConfiguration: Sendable {
  /// Physical memory, in ascending order.
  public var memory: [MemoryBank]
  /// The number of CPUs, 1…64.
  public var cpuCount: Int
  /// The node of each CPU; empty to assign CPUs to the nodes in turn.
  public var nodeOfCPU: [NodeID]
  /// The seed of every choice of the simulation.
  public var seed: UInt64
  /// The number of translated address bits: 39 or 48.
  public var virtualAddressBits: Int
  /// The frame of the kernel's root table; `nil` sets one aside outside ``memory``.
  public var kernelRoot: PageFrame?
  /// The initial contents of memory.
  public var initialContents: InitialContents
  /// Whether ``Simulation/trace`` keeps every operation, not only its hash.
  public var recordsTrace: Bool
  /// The number of machine calls after which a run ends with ``SimulationError/stepLimitReached(_:)``.
  public var stepLimit: Int
  /// Whether the CPUs keep dirty state in last-level entries (FEAT_HAFDBS).
  public var tracksDirtyPages: Bool
  /// Whether the CPUs set the access flag of last-level entries (FEAT_HAFDBS); otherwise an untouched entry faults.
  public var updatesAccessFlags: Bool
  /// Whether threads move between CPUs.
  public var migration: ThreadMigration
  /// Whether a CPU runs until it waits for another one, as in an emulator that runs all CPUs in turn; otherwise the seed
  /// chooses at each machine call which CPU goes on.
  public var runsCPUsInTurn: Bool

  /// Makes the configuration of a machine with the given memory; ``Simulation`` checks it.
  public init(
    memory: [MemoryBank], cpuCount: Int = 1, nodeOfCPU: [NodeID] = [], seed: UInt64 = 1,
    virtualAddressBits: Int = 39, kernelRoot: PageFrame? = nil, initialContents: InitialContents = .garbage,
    recordsTrace: Bool = false, stepLimit: Int = 50_000_000, tracksDirtyPages: Bool = false,
    updatesAccessFlags: Bool = false, migration: ThreadMigration = .none,
    runsCPUsInTurn: Bool = false
  ) {
    self.memory = memory
    self.cpuCount = cpuCount
    self.nodeOfCPU = nodeOfCPU
    self.seed = seed
    self.virtualAddressBits = virtualAddressBits
    self.kernelRoot = kernelRoot
    self.initialContents = initialContents
    self.recordsTrace = recordsTrace
    self.stepLimit = stepLimit
    self.tracksDirtyPages = tracksDirtyPages
    self.updatesAccessFlags = updatesAccessFlags
    self.migration = migration
    self.runsCPUsInTurn = runsCPUsInTurn
  }
}

/// The reason why a simulation cannot be made, or why its run failed.
public enum SimulationError: Error, Equatable, Sendable, CustomStringConvertible {
  /// There is no memory bank.
  case noMemory
  /// A bank is empty, unaligned, or beyond the 48 bits of a physical address or the linear map.
  case invalidBank(MemoryBank)
  /// Two banks overlap or are not in ascending order.
  case unorderedBanks(MemoryBank, MemoryBank)
  /// Nodes are numbered from 0 without gaps.
  case unknownNode(NodeID)
  /// There must be 1…64 CPUs.
  case invalidCPUCount(Int)
  /// There must be no node per CPU, or one for each.
  case nodeCountMismatch(nodes: Int, cpus: Int)
  /// Only 39 and 48 bits are supported.
  case invalidVirtualAddressBits(Int)
  /// The frame of the kernel's root table is not in memory.
  case rootOutsideMemory(PageFrame)
  /// The host gave no memory.
  case hostMemoryRefused(byteCount: Int)
  /// The host gave no thread.
  case hostThreadRefused
  /// There are more bodies to run than CPUs, or none.
  case invalidBodyCount(bodies: Int, cpus: Int)
  /// A run was started inside another.
  case alreadyRunning
  /// Every CPU waits for a lock; the text names each CPU, its lock and the holder.
  case deadlock(String)
  /// The run made more machine calls than its limit.
  case stepLimitReached(Int)
  /// Rules were broken; the first violation, and the number of them.
  case violated(first: String, count: Int)

  /// The error in one line.
  public var description: String {
    switch self {
    case .noMemory: "there is no memory bank"
    case .invalidBank(let bank):
      "the bank of \(bank.byteCount) bytes at \(hex(bank.start)) is empty, unaligned or out of reach"
    case .unorderedBanks(let a, let b):
      "the banks at \(hex(a.start)) and \(hex(b.start)) overlap or are out of order"
    case .unknownNode(let node):
      "node \(node.index) is not one of the memory's nodes, numbered from 0 without gaps"
    case .invalidCPUCount(let count): "\(count) CPUs: there must be 1…64"
    case .nodeCountMismatch(let nodes, let cpus): "\(nodes) nodes given for \(cpus) CPUs"
    case .invalidVirtualAddressBits(let bits): "\(bits)-bit addresses: only 39 and 48 are supported"
    case .rootOutsideMemory(let frame): "the root table's frame \(hex(frame)) is not in memory"
    case .hostMemoryRefused(let bytes): "the host refused \(bytes) bytes"
    case .hostThreadRefused: "the host refused a thread"
    case .invalidBodyCount(let bodies, let cpus): "\(bodies) bodies to run on \(cpus) CPUs"
    case .alreadyRunning: "a run was started inside another"
    case .deadlock(let who): "deadlock: \(who)"
    case .stepLimitReached(let limit): "no end after \(limit) machine calls"
    case .violated(let first, let count): "\(count) rules broken, first: \(first)"
    }
  }
}

func hex(_ value: UInt) -> String { "0x" + String(value, radix: 16) }
func hex(_ address: PhysicalAddress) -> String { hex(address.rawValue) }
func hex(_ address: VirtualAddress) -> String { hex(address.rawValue) }
func hex(_ frame: PageFrame) -> String { hex(frame.number) }
