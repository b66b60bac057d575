// Boot, from the first Swift code to the scenario: device tree, console, address space, allocators, interrupts. Boot CPU only.
import AArch64Machine
import CAArch64
import DeviceTree
import KernelAssembly
import KernelStacks
import Scenarios

/// The entry from boot.S, at EL1t on the boot stack, with interrupts masked.
@c func kernelBoot(_ deviceTree: UInt, _ imageBase: UInt) {
  let early = EarlyAddressSpace(imageBase: imageBase)
  Thread.boot.pointee.id = 0
  // A fault from here on is reported as one of the boot task, which has a stack of its own.
  Thread.boot.pointee.stackBase = kernel_boot_stack()
  Thread.boot.pointee.head.stack_top = UInt64(kernel_boot_stack_top())
  readBoard(deviceTree, early)
  let options = readOptions()
  if let limit = options.cpuLimit, limit < AArch64().cpuCount {
    ca_machine().pointee.cpu_count = UInt64(limit)
  }
  let layout = chooseLayout(options)
  describeMemory(early)
  let metadata = buildAddressSpace(layout, early)
  if options.scenario.strategy == .linear { startEndMarkers() }
  Scheduler.start()
  let configuration = StackConfiguration(
    options.scenario.strategy, size: options.scenario.stackSize,
    stackGroups: options.stackGroups)
  if options.isBenchmark {
    KernelObjects.startBare(metadata, layout: layout, stacks: configuration)
  } else {
    KernelObjects.start(
      metadata, layout: layout, stacks: configuration, identifierBits: options.identifierBits)
  }
  if options.scenario.growth == .lent, !options.isBenchmark {
    guard AArch64().updatesAccessFlags, ca_has_lse() != 0 else {
      fail("growth=lent needs CPUs with FEAT_HAFDBS and FEAT_LSE")
    }
    startLending(KernelObjects.stacks.pointee.lender)
  }
  startInterrupts(ticksPerSecond: options.ticksPerSecond)
  // The benchmark begins on one CPU, and starts the others, if there are any, when it has measured that one.
  if !options.isBenchmark || AArch64().cpuCount == 1 { startCPUs() }
  ca_enable_interrupts()
  runScenario(options)
}

/// The place of the frame allocator's records.
struct MetadataPlace {
  let start: PhysicalAddress
  let byteCount: Int
}

private func chooseLayout(_ options: KernelOptions) -> AddressLayout {
  do {
    return try AddressLayout(virtualAddressBits: options.scenario.virtualAddressBits)
  } catch {
    fail("address layout", error)
  }
}

// Separate functions: each call that reads the memory map copies it to the stack, and stack frames are to stay small.

@inline(never)
private func countTableFrames() -> Int { KernelAddressSpace.frameLimit(KernelObjects.memory.pointee) }

@inline(never)
private func countMetadataBytes() -> Int {
  BuddyAllocator<AArch64>.metadataByteCount(
    for: KernelObjects.memory.pointee, cpuCount: AArch64().cpuCount)
}

@inline(never)
private func findRoom(byteCount: Int) -> PhysicalAddress? {
  KernelObjects.memory.pointee.lowestUnreserved(byteCount: byteCount)
}

@inline(never)
private func buildAddressSpace(_ layout: AddressLayout, _ early: EarlyAddressSpace) -> MetadataPlace {
  let board = KernelObjects.board
  let map = KernelObjects.memory
  let tableFrames = countTableFrames()
  let metadataBytes = countMetadataBytes()
  let needed = tableFrames * pageSize + metadataBytes
  guard let start = findRoom(byteCount: needed) else {
    fail("memory is too small for the kernel's own tables")
  }
  guard early.mapTables(start, frameCount: tableFrames) else {
    fail("memory lies in too many pieces for the kernel's own tables")
  }
  let frames = EarlyFrames.forFinalTables(first: start.frame, end: start.frame + tableFrames)
  do {
    let space = try KernelAddressSpace(layout, early: early, frames: frames)
    try space.mapImage(frames: frames)
    for index in 0..<map.pointee.memoryRangeCount {
      try space.mapLinear(map.pointee.memoryRange(at: index), frames: frames)
    }
    try space.mapDevices(of: board.pointee, frames: frames)
    space.enter()
  } catch {
    fail("translation tables", error)
  }
  if let port = board.pointee.serialPort {
    Console.use(BoardSerial(port.kind, mappedAt: port.registers.start + layout.linearMapOffset))
  }
  if board.pointee.powerManager.byteCount > 0 {
    Console.use(powerManager: board.pointee.powerManager.start + layout.linearMapOffset)
  }
  let metadata = MetadataPlace(start: frames.firstUnused.physicalAddress, byteCount: metadataBytes)
  do {
    try map.pointee.reserve(
      start: start, byteCount: Int(metadata.start.rawValue - start.rawValue) + metadataBytes)
  } catch {
    fail("memory", error)
  }
  return metadata
}

private func startInterrupts(ticksPerSecond: Int) {
  let board = KernelObjects.board
  guard let controller = board.pointee.interruptController else { return }
  AArch64().startInstructionCounter()
  // Firmware sets the register; there is no other source for the counter's frequency.
  guard ca_read_cntfrq_el0() >= UInt64(ticksPerSecond) else {
    fail("the generic timer is slower than the tick (CNTFRQ_EL0)")
  }
  Interrupts.start(
    BoardInterrupts(controller, mappedAt: AArch64().linearMapOffset),
    timer: TickTimer(privateInterrupt: board.pointee.timerInterrupt, frequency: ticksPerSecond))
}
