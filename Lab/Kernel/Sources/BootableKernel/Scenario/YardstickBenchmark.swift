// The benchmark of the allocators against the same policy in C: the same sequence of operations, counted in the same way.
//
//   a block of 4 MiB each, and nothing else:
//
//     Swift:  BuddyAllocator --> ThreadStackAllocator --> slots of 16 MiB of addresses
//     C:      frames         --> stacks               --> slots of  8 MiB of addresses, whose tables are there
import AArch64Machine
import CAArch64
import CYardstick
import KernelStacks
import Scenarios

/// Measures each operation in Swift and in C, and writes a row for each.
///
/// - Parameter stacks: the source of the memory and addresses that both use.
/// - Returns: whether the measurements could be made and no operation takes more than 1.10 times the instructions of C.
func runYardstick(_ strategy: StackStrategy, _ stacks: borrowing BareStacks<AArch64>) -> Bool {
  // The yardstick is for one CPU, and for stacks in slots.
  guard stacks.geometry.size == 16 << 10, strategy != .linear, stacks.machine.cpuCount == 1 else {
    return true
  }
  guard let place = YardstickPlace(stacks) else { return check("there is memory for the yardstick", false) }
  yardstick_prepare(
    place.state, UInt64(place.blockOfC.number), UInt64(place.window.rawValue), place.tables, 4,
    strategy == .growing ? 1 : 4, stacks.clearsOnlyDirtyPages ? 1 : 0)
  let passed = compareWithC(strategy, place, stacks)
  yardstick_reclaim(place.state)
  place.release(stacks)
  return passed
}

/// Makes the allocators in Swift, and compares both with C.
@inline(never)
private func compareWithC(
  _ strategy: StackStrategy, _ place: YardstickPlace, _ stacks: borrowing BareStacks<AArch64>
) -> Bool {
  var configuration = stacks.configuration
  configuration.capacity = 256
  let first = place.window.rawValue + YardstickPlace.byteCount / 2
  guard let frames = try? place.frames() else {
    return check("there is memory for the yardstick's frames", false)
  }
  let rounds = YardstickRounds(state: place.state)
  let passed = rounds.compare(strategy, frames)
  guard
    let measured = try? BareStacks<AArch64>(
      configuration, machine: stacks.machine, frames: frames,
      arena: VmallocArea(first..<first + YardstickPlace.byteCount / 2, machine: stacks.machine))
  else { return check("there is memory for the yardstick's stacks", false) }
  return check(
    "no operation takes more than 1.10 times the instructions of the same policy in C",
    rounds.compare(strategy, measured) && passed)
}

/// The memory and addresses of both allocators.
private struct YardstickPlace {
  /// The bytes of addresses reserved; the upper half is for Swift.
  static var byteCount: UInt { 32 << 20 }
  private static var blockOrder: Int { 10 }
  private static var recordOrder: Int { 4 }

  /// The records of C, followed by the addresses of its tables.
  let state: OpaquePointer
  let tables: UnsafeMutablePointer<UInt64>
  let recordsOfC: PageFrame
  let recordsOfSwift: PageFrame
  let blockOfC: PageFrame
  let blockOfSwift: PageFrame
  let window: VirtualAddress

  init?(_ stacks: borrowing BareStacks<AArch64>) {
    let block = FrameRequest(order: Self.blockOrder, purpose: .other)
    let records = FrameRequest(order: Self.recordOrder, purpose: .metadata, cleared: true)
    let recordBytes = Int(yardstick_byte_count())
    guard pageSize << Self.recordOrder >= recordBytes + 4 * 8 else { return nil }
    guard let recordsOfC = try? stacks.frames.allocate(records),
      let recordsOfSwift = try? stacks.frames.allocate(records),
      let blockOfC = try? stacks.frames.allocate(block),
      let blockOfSwift = try? stacks.frames.allocate(block),
      let window = try? stacks.arena.reserveStackArea(
        byteCount: Int(Self.byteCount), alignment: Int(Self.byteCount), phase: 0, frames: stacks.frames)
    else { return nil }
    self.recordsOfC = recordsOfC
    self.recordsOfSwift = recordsOfSwift
    self.blockOfC = blockOfC
    self.blockOfSwift = blockOfSwift
    self.window = window
    let start = stacks.machine.pointer(to: recordsOfC.physicalAddress)
    state = OpaquePointer(start)
    tables = (start + recordBytes).assumingMemoryBound(to: UInt64.self)
    // Tables of C come first, so that the table above them exists, and stays, when Swift's arena builds its own.
    for index in 0..<4 {
      guard
        let entry = try? stacks.arena.leafEntry(at: window + index << 21, node: nil, frames: stacks.frames)
      else { return nil }
      tables[index] = UInt64(entry.rawValue)
    }
  }

  /// Makes the frame allocator in Swift, over one block.
  ///
  /// Its memory map lies behind its records: it is large, and stack frames are to stay small.
  func frames() throws(PhysicalMemoryError) -> BuddyAllocator<AArch64> {
    let machine = AArch64()
    let half = pageSize << Self.recordOrder / 2
    let start = machine.pointer(to: recordsOfSwift.physicalAddress)
    let map = PhysicalMemoryMap.makeEmpty(in: start + half)
    try map.pointee.addMemory(start: blockOfSwift.physicalAddress, byteCount: pageSize << Self.blockOrder)
    return try makeFrames(map, UnsafeMutableRawBufferPointer(start: start, count: half))
  }

  @inline(never)
  private func makeFrames(
    _ map: UnsafeMutablePointer<PhysicalMemoryMap>, _ records: UnsafeMutableRawBufferPointer
  ) throws(PhysicalMemoryError) -> BuddyAllocator<AArch64> {
    try BuddyAllocator(frames: map.pointee, metadata: records, machine: AArch64(), cpuCount: 1)
  }

  /// Gives all memory and addresses back.
  func release(_ stacks: borrowing BareStacks<AArch64>) {
    _ = stacks.arena.releaseTables(
      covering: VirtualAddressRange(window, byteCount: Int(Self.byteCount)), to: stacks.frames)
    stacks.arena.releaseStackArea(at: window, frames: stacks.frames)
    try? stacks.frames.free(blockOfSwift, order: Self.blockOrder)
    try? stacks.frames.free(blockOfC, order: Self.blockOrder)
    try? stacks.frames.free(recordsOfSwift, order: Self.recordOrder)
    try? stacks.frames.free(recordsOfC, order: Self.recordOrder)
  }
}
