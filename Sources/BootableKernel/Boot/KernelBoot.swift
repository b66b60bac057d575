// From the first Swift code to the scenario: device tree, console, address space, allocators, interrupts.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelAssembly
  import KernelStacks
  import Scenarios

  /// Called by boot.S, at EL1t on the boot stack, with interrupts masked.
  @c func kernelBoot(_ deviceTree: UInt, _ imageBase: UInt) {
    let early = EarlyAddressSpace(imageBase: imageBase)
    Thread.boot.pointee.id = 0
    let board = readBoard(deviceTree, early)
    let options = readOptions()
    let layout = chooseLayout(options)
    var memory = describeMemory(board, deviceTree, early)
    let metadata = buildAddressSpace(board, layout, early, &memory)
    Scheduler.start()
    KernelObjects.start(
      memory, metadata, layout: layout,
      stacks: StackConfiguration(options.scenario.strategy, size: options.scenario.stackSize))
    startInterrupts(board)
    ca_enable_interrupts()
    runScenario(options, board)
  }

  /// Where the frame allocator's records go.
  struct MetadataPlace {
    let start: PhysicalAddress
    let byteCount: Int
  }

  @inline(never)
  private func readBoard(_ deviceTree: UInt, _ early: EarlyAddressSpace) -> Board {
    let address = deviceTree + EarlyAddressSpace.linearMapOffset
    guard deviceTree != 0, deviceTree % 8 == 0, let base = UnsafeRawPointer(bitPattern: address),
      let tree = FlattenedDeviceTree(at: base)
    else {
      // Without a device tree there is no console to say so.
      exitMachine(.failure)
    }
    let board = Board(tree)
    Console.use(firmwareByHypervisorCall: board.firmwareByHypervisorCall)
    if board.uart.byteCount > 0, early.mapDevice(board.uart.start) {
      Console.use(serialPort: board.uart.start + EarlyAddressSpace.linearMapOffset)
    }
    guard board.memoryCount > 0 else { fail("the device tree describes no memory") }
    guard board.rangesLeftOut == 0 else { fail("the device tree describes more ranges of memory than fit") }
    guard board.cpuCount > 0 else { fail("the device tree describes no CPU") }
    guard board.distributor.byteCount > 0 else {
      if board.hasForeignInterruptController {
        fail("the interrupt controller is no GICv2, which is all that works")
      }
      fail("the device tree describes no GICv2 interrupt controller")
    }
    guard board.timerInterrupt >= 0 else { fail("the device tree describes no generic timer") }
    guard CommandLine.copy(board.commandLine) else { fail("the command line is longer than 1024 bytes") }
    ca_this_cpu().pointee.node = UInt64(board.bootNode)
    return board
  }

  private func chooseLayout(_ options: KernelOptions) -> AddressLayout {
    do {
      return try AddressLayout(virtualAddressBits: options.scenario.virtualAddressBits)
    } catch {
      fail("address layout", error)
    }
  }

  @inline(never)
  private func describeMemory(_ board: Board, _ deviceTree: UInt, _ early: EarlyAddressSpace)
    -> PhysicalMemoryMap
  {
    var map = PhysicalMemoryMap()
    do {
      for index in 0..<board.memoryCount {
        let range = board.memory[index]
        try map.addMemory(
          start: PhysicalAddress(range.start), byteCount: Int(range.byteCount), node: NodeID(range.node))
      }
      for index in 0..<board.reservationCount where board.reservations[index].byteCount > 0 {
        let range = board.reservations[index]
        try map.reserve(start: PhysicalAddress(range.start), byteCount: Int(range.byteCount))
      }
      let image = early.physical(kernel_image_start())
      try map.reserve(
        start: PhysicalAddress(image), byteCount: Int(kernel_image_end() - kernel_image_start()))
      let tree = UnsafeRawPointer(bitPattern: deviceTree + EarlyAddressSpace.linearMapOffset).unsafelyUnwrapped
      try map.reserve(
        start: PhysicalAddress(deviceTree), byteCount: Int(FlattenedDeviceTree.word(tree, 4)))
      if board.initialRAMDisk.byteCount > 0 {
        try map.reserve(
          start: PhysicalAddress(board.initialRAMDisk.start), byteCount: Int(board.initialRAMDisk.byteCount))
      }
    } catch {
      fail("memory", error)
    }
    return map
  }

  @inline(never)
  private func buildAddressSpace(
    _ board: Board, _ layout: AddressLayout, _ early: EarlyAddressSpace, _ map: inout PhysicalMemoryMap
  ) -> MetadataPlace {
    let tableFrames = KernelAddressSpace.frameLimit(map) + 1
    let metadataBytes = BuddyAllocator<AArch64>.metadataByteCount(for: map)
    let needed = tableFrames * pageSize + metadataBytes
    guard let start = map.lowestUnreserved(byteCount: needed) else {
      fail("memory is too small for the kernel's own tables")
    }
    guard early.isMapped(start.rawValue), early.isMapped(start.rawValue + UInt(needed)) else {
      fail("no room for the kernel's own tables in the same GiB as its image")
    }
    let frames = EarlyFrames(first: start.frame, end: start.frame + tableFrames)
    do {
      let space = try KernelAddressSpace(layout, early: early, frames: frames)
      try space.mapImage(frames: frames)
      for index in 0..<map.memoryRangeCount { try space.mapLinear(map.memoryRange(at: index), frames: frames) }
      if board.uart.byteCount > 0 { try space.mapDevice(board.uart, frames: frames) }
      try space.mapDevice(board.distributor, frames: frames)
      try space.mapDevice(board.cpuInterface, frames: frames)
      space.enter()
    } catch {
      fail("translation tables", error)
    }
    if board.uart.byteCount > 0 { Console.use(serialPort: board.uart.start + layout.linearMapOffset) }
    let metadata = MetadataPlace(start: frames.firstUnused.physicalAddress, byteCount: metadataBytes)
    do {
      try map.reserve(
        start: start, byteCount: Int(metadata.start.rawValue - start.rawValue) + metadataBytes)
    } catch {
      fail("memory", error)
    }
    return metadata
  }

  private func startInterrupts(_ board: Board) {
    let offset = AArch64().linearMapOffset
    AArch64().startInstructionCounter()
    Interrupts.start(
      InterruptController(
        distributor: board.distributor.start + offset, cpuInterface: board.cpuInterface.start + offset),
      timer: TickTimer(privateInterrupt: board.timerInterrupt))
  }
#endif
