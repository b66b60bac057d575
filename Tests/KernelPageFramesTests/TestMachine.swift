// The smallest machine for an allocator of frames: locks that notice misuse, and a list of the memory cleared.

import KernelMachine
import KernelPageFrames

/// The state of a ``TestMachine``.
final class TestWorld {
  struct Clearing: Equatable {
    var address: VirtualAddress
    var byteCount: Int
  }

  var clearings: [Clearing] = []
  var node = NodeID(0)
  /// The CPU that executes.
  var cpu = 0
  /// The number of times that interrupts were turned off and not restored.
  var interruptsOff = 0
  var locksHeld = 0
  var locksTaken: UInt64 = 0
  /// Called each time that a lock has been released: the work of another CPU.
  var afterUnlock: (() -> Void)?
  /// Called before a lock is taken: the work that another CPU has done by then.
  var beforeLock: (() -> Void)?
}

struct TestMachine: MeasuredMachine {
  let world: TestWorld

  var linearMapOffset: UInt { 0xffff_ffc0_0000_0000 }
  var currentNode: NodeID { world.node }
  var currentCPU: Int {
    precondition(world.interruptsOff > 0, "the CPU's number was asked for with interrupts on")
    return world.cpu
  }
  var cpuCount: Int { 1 }

  func clear(_ address: VirtualAddress, byteCount: Int) {
    precondition(world.locksHeld == 0, "cleared under a lock")
    precondition(world.interruptsOff == 0, "cleared with interrupts off")
    world.clearings.append(TestWorld.Clearing(address: address, byteCount: byteCount))
  }

  func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState {
    world.beforeLock?()
    precondition(lock.pointee.word == 0 && world.locksHeld == 0, "two locks at once")
    lock.pointee.word = 1
    world.locksHeld += 1
    world.locksTaken += 1
    return InterruptState(rawValue: 7)
  }

  func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {
    precondition(lock.pointee.word == 1 && state.rawValue == 7, "unlocked what was not locked")
    lock.pointee.word = 0
    world.locksHeld -= 1
    world.afterUnlock?()
  }

  var counters: MachineCounters {
    var counters = MachineCounters()
    counters.lockAcquisitions = world.locksTaken
    return counters
  }

  // An allocator of frames does not call the rest.
  func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer { fatalError("frames were touched") }
  var virtualAddressBits: Int { fatalError("not for an allocator of frames") }
  func readEntry(at address: PhysicalAddress) -> PageTableEntry { fatalError("page tables were read") }
  func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {
    fatalError("page tables were written")
  }
  func publishEntries() { fatalError("page tables were published") }
  func completeAccesses() { fatalError("page tables were looked at") }
  func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
    fatalError("translations were invalidated")
  }

  func disableInterrupts() -> InterruptState {
    world.interruptsOff += 1
    return InterruptState(rawValue: 5)
  }

  func restoreInterrupts(_ state: InterruptState) {
    precondition(state.rawValue == 5 && world.interruptsOff > 0, "restored what was not disabled")
    world.interruptsOff -= 1
  }
}

/// An allocator together with the memory for its metadata.
final class Bed {
  let world = TestWorld()
  let map: PhysicalMemoryMap
  let metadata: UnsafeMutableRawBufferPointer
  let allocator: BuddyAllocator<TestMachine>

  /// - Parameters:
  ///   - misalignment: the metadata's distance from a multiple of 64.
  ///   - cpuCount: the number of CPUs that keep lists.
  init(_ map: consuming PhysicalMemoryMap, misalignment: Int = 0, cpuCount: Int = 0) throws {
    let byteCount = BuddyAllocator<TestMachine>.metadataByteCount(for: map, cpuCount: cpuCount)
    metadata = .allocate(byteCount: byteCount + misalignment, alignment: 64)
    // The initial contents must not matter.
    for index in metadata.indices { metadata[index] = 0xa5 }
    self.map = map
    allocator = try BuddyAllocator(
      frames: self.map, metadata: UnsafeMutableRawBufferPointer(rebasing: metadata[misalignment...]),
      machine: TestMachine(world: world), cpuCount: cpuCount)
  }

  deinit { metadata.deallocate() }

  /// One range of RAM from address 0x4000_0000.
  convenience init(frames: Int, cpuCount: Int = 0) throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: frames)
    try self.init(map, cpuCount: cpuCount)
  }

  func take(_ order: Int, on node: Int? = nil, for purpose: FramePurpose = .userMemory) throws(FrameSourceError)
    -> PageFrame
  {
    try allocator.allocate(FrameRequest(order: order, node: node.map { NodeID($0) }, purpose: purpose))
  }

  /// Free blocks per order, from 0 to 10, on all nodes or on one.
  func blocks(on node: Int? = nil) -> [Int] {
    (0...10).map { order in
      if let node { return allocator.freeBlocks(ofOrder: order, on: NodeID(node)) }
      return allocator.freeBlocks(ofOrder: order)
    }
  }

  /// All figures of the allocator, for a comparison of before and after.
  func picture() -> [String] {
    var lines: [String] = []
    for index in 0..<map.memoryRangeCount {
      let range = map.memoryRange(at: index)
      for offset in 0..<range.frameCount { lines.append("\(allocator.owner(of: range.firstFrame + offset))") }
    }
    lines.append("\(allocator.freeFrames) \(allocator.largestFreeOrder) \(blocks())")
    return lines
  }
}

extension PhysicalMemoryMap {
  mutating func addMemory(firstFrame: UInt, frames: Int, node: Int = 0) throws(PhysicalMemoryError) {
    try addMemory(start: PageFrame(firstFrame).physicalAddress, byteCount: frames * 4096, node: NodeID(node))
  }

  mutating func reserve(firstFrame: UInt, frames: Int) throws(PhysicalMemoryError) {
    try reserve(start: PageFrame(firstFrame).physicalAddress, byteCount: frames * 4096)
  }

  var memoryRanges: [MemoryRange] { (0..<memoryRangeCount).map { memoryRange(at: $0) } }
  var reservedRanges: [ReservedRange] { (0..<reservedRangeCount).map { reservedRange(at: $0) } }
}

struct TextCollector: TextSink {
  var bytes: [UInt8] = []
  mutating func write(byte: UInt8) { bytes.append(byte) }
  var text: String { String(decoding: bytes, as: UTF8.self) }
}
