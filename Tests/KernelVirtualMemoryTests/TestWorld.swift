// The world of this folder's tests: a simulated machine and a frame source that counts and can refuse.

import KernelStacks
import SimulatedMachine
import Testing

/// A buddy allocator that counts frames handed out and refuses from the n-th request on, or only the n-th.
final class TestFrames: FrameSource {
  private let buddy: BuddyAllocator<Simulated>
  private let metadata: UnsafeMutableRawBufferPointer
  /// The number of requests to grant before one is refused; `nil` for all.
  var requestsUntilRefusal: Int?
  private(set) var requests = 0
  private(set) var outstanding: [PageFrame: FramePurpose] = [:]

  init(_ simulation: Simulation) throws {
    var map = PhysicalMemoryMap()
    for bank in simulation.memoryBanks {
      try map.addMemory(start: bank.start, byteCount: bank.byteCount, node: bank.node)
    }
    let byteCount = BuddyAllocator<Simulated>.metadataByteCount(for: map)
    metadata = .allocate(byteCount: byteCount, alignment: 64)
    buddy = try BuddyAllocator(frames: map, metadata: metadata, machine: simulation.machine)
  }

  deinit { metadata.deallocate() }

  func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
    requests += 1
    if let left = requestsUntilRefusal {
      requestsUntilRefusal = left == 0 ? nil : left - 1
      if left == 0 {
        throw .refused(
          FrameRefusal(order: request.order, purpose: request.purpose, freeFrames: 7, largestFreeOrder: 0))
      }
    }
    let frame = try buddy.allocate(request)
    outstanding[frame] = request.purpose
    return frame
  }

  func free(_ frame: PageFrame, order: Int) throws(FrameSourceError) {
    try buddy.free(frame, order: order)
    outstanding[frame] = nil
  }

  func node(of frame: PageFrame) -> NodeID { buddy.node(of: frame) }
  var nodeCount: Int { buddy.nodeCount }
  var totalFrames: Int { buddy.totalFrames }
  var freeFrames: Int { buddy.freeFrames }

  func count(_ purpose: FramePurpose) -> Int { outstanding.values.count { $0 == purpose } }
}

/// A machine, its frames, and its layout.
struct TestWorld {
  let simulation: Simulation
  let frames: TestFrames
  let layout: AddressLayout
  var machine: Simulated { simulation.machine }

  init(bits: Int = 39, memoryBytes: Int = 8 << 20, nodes: Int = 1, cpus: Int = 1, seed: UInt64 = 1) throws {
    let banks = (0..<nodes).map { node in
      MemoryBank(
        start: PhysicalAddress(1 << 30) + node * memoryBytes, byteCount: memoryBytes, node: NodeID(node))
    }
    simulation = try Simulation(
      SimulationConfiguration(memory: banks, cpuCount: cpus, seed: seed, virtualAddressBits: bits))
    frames = try TestFrames(simulation)
    layout = try AddressLayout(virtualAddressBits: bits)
  }

  var kernelTables: TranslationTables<Simulated> { TranslationTables(kernelOf: machine) }

  /// A vmalloc area too narrow to have chunks for small areas: all lie in one tree, at the lowest place that fits.
  func narrowArea() -> VmallocArea<Simulated> {
    let lower = layout.vmallocArea.lowerBound.rawValue
    return VmallocArea(lower..<lower + 15 << 20, machine: machine)
  }

  /// The kernel's root table, entry by entry.
  var rootEntries: [PageTableEntry] {
    (0..<512).map { machine.readEntry(at: machine.kernelRoot + $0 * 8) }
  }

  func expectNoViolations(_ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(simulation.violations.isEmpty, comment, sourceLocation: sourceLocation)
  }
}

/// A text sink that keeps what it is given.
struct Text: TextSink {
  var string = ""
  mutating func write(byte: UInt8) { string.unicodeScalars.append(Unicode.Scalar(byte)) }
}

/// The error that `body` throws, or `nil`.
func thrown<Failure: Error>(_ body: () throws(Failure) -> Void) -> Failure? {
  do {
    try body()
    return nil
  } catch {
    return error
  }
}

/// Asks for an area while first no request for frames is granted, then one, and so on until it succeeds.
///
/// - Returns: the number of requests that must be granted; -1 when it failed for another reason than a refused request.
func refuseEveryAllocationInTurn(
  of area: borrowing VmallocArea<Simulated>, pageCount: Int, _ world: TestWorld,
  sourceLocation: SourceLocation = #_sourceLocation
) -> Int {
  defer { world.frames.requestsUntilRefusal = nil }
  let before = world.frames.outstanding
  let figures = area.figures
  let root = world.rootEntries
  var granted = 0
  while true {
    world.frames.requestsUntilRefusal = granted
    do {
      _ = try area.vmalloc(size: pageCount * pageSize, caller: "test", frames: world.frames)
      return granted
    } catch {
      guard case .frames(.refused) = error else {
        Issue.record("\(error)", sourceLocation: sourceLocation)
        return -1
      }
    }
    #expect(world.frames.outstanding == before, "after \(granted) grants", sourceLocation: sourceLocation)
    #expect(area.figures == figures, sourceLocation: sourceLocation)
    #expect(world.rootEntries == root, sourceLocation: sourceLocation)
    area._checkInvariants()
    granted += 1
  }
}
