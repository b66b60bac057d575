// An allocator of stacks in the host's memory, as a kernel uses it.

import KernelStacks

typealias HostStacks = ThreadStackAllocator<HostMachine, BuddyAllocator<HostMachine>, VmallocArea<HostMachine>>

/// Makes an allocator over all memory of a machine, whose first frames are the kernel's table and the frames' records.
///
/// The current thread is CPU 0 then.
func makeHostStacks(
  _ strategy: StackStrategy, on machine: HostMachine, cachedStacksPerCPU: Int = 8
) throws -> HostStacks {
  var map = PhysicalMemoryMap()
  try map.addMemory(
    start: PhysicalAddress(HostMachine.memoryStart), byteCount: machine.byteCount, node: NodeID(0))
  let metadataBytes = BuddyAllocator<HostMachine>.metadataByteCount(for: map, cpuCount: machine.cpuCount)
  let reserved = (pageSize + metadataBytes + pageSize - 1) / pageSize * pageSize
  try map.reserve(start: PhysicalAddress(HostMachine.memoryStart), byteCount: reserved)
  HostMachine.become(cpu: 0)
  return try HostStacks(
    StackConfiguration(strategy, cachedStacksPerCPU: cachedStacksPerCPU), machine: machine,
    frames: BuddyAllocator(
      frames: map,
      metadata: UnsafeMutableRawBufferPointer(
        start: machine.pointer(to: PhysicalAddress(HostMachine.memoryStart + UInt(pageSize))),
        count: metadataBytes), machine: machine, cpuCount: machine.cpuCount),
    arena: VmallocArea(machine.layout, machine: machine))
}
