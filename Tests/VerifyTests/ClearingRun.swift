// CPUs that allocate frames, free them, clear them when idle, pause clearing and merge lists, on a watched machine.

import KernelStacks
import SeededRandom
import SimulatedMachine
import TestSupport

@testable import KernelPageFrames

/// One simulated machine with one allocator of frames, and all that its CPUs do.
final class ClearingRun: @unchecked Sendable {
  static let frameCount = 128
  static let cpuCount = 3
  private static let start = PhysicalAddress(1 << 30)

  let seed: UInt64
  let simulation: Simulation
  let trace: ClearingTrace
  private let frames: BuddyAllocator<Watched>
  private let metadata: UnsafeMutableRawBufferPointer
  private(set) var problems: [String] = []

  init(seed: UInt64) throws {
    self.seed = seed
    let bank = MemoryBank(start: Self.start, byteCount: Self.frameCount * pageSize)
    simulation = try Simulation(
      SimulationConfiguration(memory: [bank], cpuCount: Self.cpuCount, seed: seed))
    var map = PhysicalMemoryMap()
    try map.addMemory(start: bank.start, byteCount: bank.byteCount, node: NodeID(0))
    metadata = .allocate(
      byteCount: BuddyAllocator<Watched>.metadataByteCount(for: map, cpuCount: Self.cpuCount),
      alignment: 64)
    trace = ClearingTrace(simulation, firstFrame: Self.start.frame)
    let watch = Watch()
    frames = try BuddyAllocator(
      frames: map, metadata: metadata,
      machine: Watched(simulation.machine, watch), cpuCount: Self.cpuCount)
    trace.begin(watch) { [unowned self] in FramePlaces(frames) }
  }

  deinit { metadata.deallocate() }

  /// The most zeroed frames that the pool holds.
  var zeroedPoolLimit: Int { frames.zeroedFrameLimit(on: NodeID(0)) }

  /// Lets all CPUs run for `steps` steps each, and leaves all frames where they are.
  func run(steps: Int) throws {
    try simulation.run(
      (0..<Self.cpuCount).map { cpu in
        { _ in
          var random = SplitMix64(seed: self.seed &* 1021 &+ UInt64(cpu))
          var mine: [(PageFrame, Int)] = []
          for step in 0..<steps {
            try self.step(cpu, isFilling: step / 40 % 2 == 0, &mine, &random)
            self.trace.noteUnlocked()
          }
        }
      })
    trace.noteEnd()
  }

  private func step(
    _ cpu: Int, isFilling: Bool, _ mine: inout [(PageFrame, Int)], _ random: inout SplitMix64
  ) throws {
    switch random.next(below: 16) {
    case 0..<4:
      for _ in 0..<4 { frames.zeroOneFrame() }
    case 4:
      frames.pauseClearing()
      frames.drain()
      frames.resumeClearing()
    case 5: frames.drain(cpu: random.next(below: Self.cpuCount))
    case 6..<9 where isFilling:
      let cleared = random.next(below: 2) == 0
      try? frames.allocate(FrameRequest(purpose: .vmalloc, cleared: cleared), count: 8) { frame in
        mine.append((frame, 0))
        obtain(frame, cleared: cleared)
      }
    case 9..<12 where isFilling:
      let order = random.next(below: 2)
      let cleared = order == 0 && random.next(below: 2) == 0
      guard let frame = try? frames.allocate(FrameRequest(order: order, purpose: .vmalloc, cleared: cleared))
      else { return }
      mine.append((frame, order))
      for index in 0..<1 << order { obtain(frame + index, cleared: cleared) }
    default:
      for _ in 0..<(isFilling ? 2 : 12) where !mine.isEmpty {
        let (frame, order) = mine.remove(at: random.next(below: mine.count))
        try frames.free(frame, order: order)
      }
    }
  }

  private func obtain(_ frame: PageFrame, cleared: Bool) {
    trace.noteObtained(frame, cleared: cleared)
    let words = simulation.machine.pointer(to: frame.physicalAddress).assumingMemoryBound(to: UInt64.self)
    if cleared, words[0] != 0 || words[511] != 0 { problems.append("\(frame) is not zero") }
    words[0] = 0xbad
    words[511] = 0xbad
  }
}
