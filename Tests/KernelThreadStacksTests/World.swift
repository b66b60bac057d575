// The world of these tests: a simulated machine, a frame source that counts and can refuse, and stacks with an owner.

import KernelStacks
import SimulatedMachine
import Testing

/// The buddy allocator with a ledger of the frames held for each purpose, and of the requests to refuse.
final class FrameLedger: @unchecked Sendable {
  let buddy: BuddyAllocator<Simulated>
  private let metadata: UnsafeMutableRawBufferPointer
  /// Frames handed out and not given back, for each purpose.
  private(set) var held: [FramePurpose: Int] = [:]
  private var purposeOfBlock: [UInt: FramePurpose] = [:]
  /// The number of requests so far.
  private(set) var requests = 0
  private var requestsTogether = 0
  /// The largest order that was asked for.
  private(set) var largestOrder = 0
  /// The request to refuse, counted from now on: 1 is the next; `nil` for none.
  var refuseRequest: Int?
  /// Whether all later ones are refused too.
  var refusesAllFrom = false
  /// Whether only requests that may wait are served.
  var needsToWait = false

  init(_ simulation: Simulation) throws {
    var map = PhysicalMemoryMap()
    for bank in simulation.memoryBanks {
      try map.addMemory(start: bank.start, byteCount: bank.byteCount, node: bank.node)
    }
    metadata = .allocate(byteCount: BuddyAllocator<Simulated>.metadataByteCount(for: map), alignment: 64)
    buddy = try BuddyAllocator(frames: map, metadata: metadata, machine: simulation.machine)
  }

  deinit { metadata.deallocate() }

  func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
    requests += 1
    largestOrder = max(largestOrder, request.order)
    if let left = refuseRequest {
      refuseRequest = left > 1 || refusesAllFrom ? max(left - 1, 1) : nil
      if left <= 1 {
        throw .refused(
          FrameRefusal(
            order: request.order, purpose: request.purpose, freeFrames: buddy.freeFrames,
            largestFreeOrder: buddy.largestFreeOrder))
      }
    }
    let frame = try buddy.allocate(request)
    held[request.purpose, default: 0] += 1 << request.order
    purposeOfBlock[frame.number] = request.purpose
    return frame
  }

  /// Hands out frames every other time, unless some request is to be refused; every third time that it does, zeroed ones.
  func allocateTogether(_ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void) -> FrameContents? {
    requestsTogether += 1
    guard refuseRequest == nil, !needsToWait, requestsTogether % 2 == 0 else { return nil }
    let contents: FrameContents = request.cleared && requestsTogether % 3 == 0 ? .zeroed : .unknown
    var taken: [PageFrame] = []
    let single = FrameRequest(node: request.node, purpose: request.purpose, cleared: contents == .zeroed)
    while taken.count < count, let frame = try? buddy.allocate(single) { taken.append(frame) }
    guard taken.count == count else {
      for frame in taken { try! buddy.free(frame, order: 0) }
      return nil
    }
    requests += count
    for frame in taken {
      if contents == .unknown {
        let memory = buddy.machine.pointer(to: frame.physicalAddress)
        for offset in stride(from: 0, to: pageSize, by: 512) {
          memory.storeBytes(of: 0xbad, toByteOffset: offset, as: Int.self)
        }
      }
      held[request.purpose, default: 0] += 1
      purposeOfBlock[frame.number] = request.purpose
      body(frame)
    }
    return contents
  }

  func free(_ frame: PageFrame, order: Int) throws(FrameSourceError) {
    try buddy.free(frame, order: order)
    if let purpose = purposeOfBlock.removeValue(forKey: frame.number) { held[purpose]! -= 1 << order }
  }

  /// Frames that are not free.
  var heldFrames: Int { held.values.reduce(0, +) }
  func frames(for purpose: FramePurpose) -> Int { held[purpose] ?? 0 }
}

/// Frames that another owner has taken.
///
/// Another CPU may run at each request.
final class Ballast: @unchecked Sendable {
  private var taken: [PageFrame] = []

  /// Takes frames, as many as there are.
  func take(_ count: Int, from world: World) {
    for _ in 0..<count {
      guard let frame = try? world.ledger.allocate(FrameRequest(purpose: .other)) else { return }
      taken.append(frame)
    }
  }

  /// Gives frames back, as many as were taken.
  func giveBack(_ count: Int, to world: World) {
    var given = 0
    while given < count, let frame = taken.popLast() {
      try? world.ledger.free(frame, order: 0)
      given += 1
    }
  }
}

/// The handle of a ledger that an allocator consumes.
struct TestFrames: FrameSource {
  let ledger: FrameLedger

  func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame { try ledger.allocate(request) }
  func allocateWithoutWaiting(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
    if ledger.needsToWait {
      throw .refused(
        FrameRefusal(order: request.order, purpose: request.purpose, freeFrames: 0, largestFreeOrder: -1))
    }
    return try ledger.allocate(request)
  }
  func allocateTogether(_ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void) -> FrameContents? {
    ledger.allocateTogether(request, count: count, body)
  }
  func free(_ frame: PageFrame, order: Int) throws(FrameSourceError) { try ledger.free(frame, order: order) }
  func node(of frame: PageFrame) -> NodeID { ledger.buddy.node(of: frame) }
  func contains(_ frame: PageFrame) -> Bool { ledger.buddy.contains(frame) }
  var nodeCount: Int { ledger.buddy.nodeCount }
  var totalFrames: Int { ledger.buddy.totalFrames }
}

typealias TestStacks = ThreadStackAllocator<Simulated, TestFrames, VmallocArea<Simulated>>

/// A simulated machine with its frames.
final class World: @unchecked Sendable {
  static let vmallocArea: Range<UInt> = 0xffff_ff80_0800_0000..<0xffff_ffbc_0000_0000

  let simulation: Simulation
  let ledger: FrameLedger
  var machine: Simulated { simulation.machine }

  init(_ configuration: SimulationConfiguration) throws {
    simulation = try Simulation(configuration)
    ledger = try FrameLedger(simulation)
  }

  convenience init(
    memoryBytes: Int = 4 << 20, cpuCount: Int = 1, seed: UInt64 = 1, tracksDirtyPages: Bool = false,
    updatesAccessFlags: Bool = false, recordsTrace: Bool = false
  ) throws {
    let bank = MemoryBank(start: PhysicalAddress(1 << 30), byteCount: memoryBytes)
    try self.init(
      SimulationConfiguration(
        memory: [bank], cpuCount: cpuCount, seed: seed, recordsTrace: recordsTrace,
        tracksDirtyPages: tracksDirtyPages, updatesAccessFlags: updatesAccessFlags))
  }

  /// Two nodes with the given memory each; CPU 0 belongs to node 0, CPU 1 to node 1.
  convenience init(nodeBytes: [Int], seed: UInt64 = 1) throws {
    var banks: [MemoryBank] = []
    for (node, bytes) in nodeBytes.enumerated() {
      let start = PhysicalAddress(UInt(1 << 30) + UInt(node) << 28)
      banks.append(MemoryBank(start: start, byteCount: bytes, node: NodeID(node)))
    }
    try self.init(SimulationConfiguration(memory: banks, cpuCount: nodeBytes.count, seed: seed))
  }

  /// An allocator whose vmalloc area ends with it; the area's own frames stay in the ledger.
  func stacks(
    _ configuration: StackConfiguration, records: UnsafeMutableRawBufferPointer? = nil
  ) throws(ThreadStackError) -> TestStacks {
    try TestStacks(
      configuration, machine: machine, frames: TestFrames(ledger: ledger),
      arena: VmallocArea(Self.vmallocArea, machine: machine), records: records)
  }
}

/// A class that owns a stack, for tests that keep many.
final class Owner {
  var stack: ThreadStack?
  let base: VirtualAddress

  init(_ stack: consuming ThreadStack) {
    base = stack.base
    self.stack = consume stack
  }

  func take() -> ThreadStack { stack.take()! }
}

extension Simulated {
  /// Stores a value that is not zero into every `step`-th byte of a stack, and into its last word.
  func dirty(_ base: VirtualAddress, size: Int, step: Int = 1024) throws {
    for offset in stride(from: 0, to: size, by: step) {
      try store(UInt64(base.rawValue) ^ UInt64(offset) | 1, to: base + offset)
    }
    try store(UInt64.max, to: base + (size - 8))
  }

  /// The first offset in a stack that does not read as zero.
  func firstNonzero(_ base: VirtualAddress, size: Int, step: Int = 8) throws -> Int? {
    for offset in stride(from: 0, to: size, by: step) where try load(base + offset, as: UInt64.self) != 0 {
      return offset
    }
    return nil
  }
}

extension StackConfiguration {
  /// Both strategies with 16 KiB.
  static var both: [StackConfiguration] { [StackConfiguration(.linear), StackConfiguration(.vmalloc)] }
}

extension StackConfiguration: CustomTestStringConvertible {
  /// The strategy and the sizes.
  public var testDescription: String { "\(strategy) \(size) bytes, guard \(guardMinimum), phase \(phase)" }
}
