// Both allocators, each over 4 MiB of frames of its own.

import HostYardstick
import KernelStacks

typealias HostStacks = ThreadStackAllocator<HostMachine, BuddyAllocator<HostMachine>, VmallocArea<HostMachine>>

private let blockBytes = pageSize << 10

/// Memory that reads as zero and stays until the process ends.
private func zeroedMemory(_ byteCount: Int) -> UnsafeMutableRawPointer {
  let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: blockBytes)
  memory.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
  return memory
}

/// Makes the allocator in Swift.
func makeStacks(_ strategy: StackStrategy) throws -> HostStacks {
  let machine = try HostMachine(root: zeroedMemory(pageSize))
  var map = PhysicalMemoryMap()
  try map.addMemory(
    start: PhysicalAddress(UInt(bitPattern: zeroedMemory(blockBytes))), byteCount: blockBytes)
  let bytes = BuddyAllocator<HostMachine>.metadataByteCount(for: map, cpuCount: 1)
  let records = UnsafeMutableRawBufferPointer(start: zeroedMemory(bytes), count: bytes)
  return try HostStacks(
    StackConfiguration(strategy, capacity: 256), machine: machine,
    frames: BuddyAllocator(frames: map, metadata: records, machine: machine, cpuCount: 1),
    arena: VmallocArea(machine.layout, machine: machine))
}

/// Makes the allocator in C.
func makeYardstick(_ strategy: StackStrategy) -> OpaquePointer {
  let state = OpaquePointer(zeroedMemory(Int(yardstick_byte_count())))
  let tables = (0..<4).map { _ in UInt64(UInt(bitPattern: zeroedMemory(pageSize))) }
  yardstick_prepare(
    state, UInt64(UInt(bitPattern: zeroedMemory(blockBytes)) >> 12), 0xffff_ff80_0800_0000, tables, 4,
    strategy == .growing ? 1 : 4, 0)
  return state
}
