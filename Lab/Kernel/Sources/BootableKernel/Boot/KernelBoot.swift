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
    readBoard(deviceTree, early)
    let options = readOptions()
    let layout = chooseLayout(options)
    describeMemory(deviceTree, early)
    let metadata = buildAddressSpace(layout, early)
    if options.scenario.strategy == .linear { startEndMarkers() }
    Scheduler.start()
    let configuration = StackConfiguration(
      options.scenario.strategy, size: options.scenario.stackSize,
      stackGroups: options.stackGroups)
    if options.isBenchmark {
      KernelObjects.startBare(metadata, layout: layout, stacks: configuration)
    } else {
      KernelObjects.start(metadata, layout: layout, stacks: configuration)
    }
    startInterrupts()
    if !options.isBenchmark { startCPUs() }
    ca_enable_interrupts()
    runScenario(options)
  }

  /// Where the frame allocator's records go.
  struct MetadataPlace {
    let start: PhysicalAddress
    let byteCount: Int
  }

  @inline(never)
  private func readBoard(_ deviceTree: UInt, _ early: EarlyAddressSpace) {
    let address = deviceTree + EarlyAddressSpace.linearMapOffset
    guard deviceTree != 0, deviceTree % 8 == 0, let base = UnsafeRawPointer(bitPattern: address),
      let tree = FlattenedDeviceTree(at: base)
    else {
      // Without a device tree there is no console to say so.
      exitMachine(.failure)
    }
    KernelObjects.board.initialize(to: Board(tree))
    let board = KernelObjects.board
    Console.use(board.pointee.firmware)
    if board.pointee.uart.byteCount > 0, early.mapDevice(board.pointee.uart.start) {
      Console.use(serialPort: board.pointee.uart.start + EarlyAddressSpace.linearMapOffset)
    }
    guard ca_wants_lse() == 0 || ca_has_lse() != 0 else {
      // The console's lock is one of the atomics that are missing.
      var console = Console()
      console.write(#"{"type":"error","message":"this kernel needs CPUs with FEAT_LSE"}"#)
      console.write("\n")
      exitMachine(.failure)
    }
    guard board.pointee.memoryCount > 0 else { fail("the device tree describes no memory") }
    guard board.pointee.rangesLeftOut == 0 else {
      fail("the device tree describes more ranges of memory than fit")
    }
    checkCPUs()
    guard board.pointee.distributor.byteCount > 0 else {
      if board.pointee.hasForeignInterruptController {
        fail("the interrupt controller is no GICv2, which is all that works")
      }
      fail("the device tree describes no GICv2 interrupt controller")
    }
    guard board.pointee.timerInterrupt >= 0 else { fail("the device tree describes no generic timer") }
    guard CommandLine.copy(board.pointee.commandLine) else {
      fail("the command line is longer than 1024 bytes")
    }
  }

  // Every CPU that the device tree names is going to run; a tree with one that cannot be started is refused.
  private func checkCPUs() {
    let board = KernelObjects.board
    let count = board.pointee.cpuCount
    guard count > 0 else { fail("the device tree describes no CPU") }
    guard count <= Board.maximumCPUs else { fail("the device tree describes more than 8 CPUs") }
    guard board.pointee.namesBootCPU else {
      fail("the device tree does not describe the CPU that the kernel was started on")
    }
    if count > 1, !board.pointee.firmware.startsCPUs {
      fail("the device tree describes several CPUs, but no PSCI firmware to start them by")
    }
    for number in 0..<count {
      if number > 0, !board.pointee.cpus[number].isStartedByFirmware {
        fail("the device tree describes a CPU that is not started by PSCI")
      }
      ca_cpu_at(UInt64(number)).pointee.node = UInt64(board.pointee.cpus[number].node)
    }
    ca_machine().pointee.cpu_count = UInt64(count)
  }

  private func chooseLayout(_ options: KernelOptions) -> AddressLayout {
    do {
      return try AddressLayout(virtualAddressBits: options.scenario.virtualAddressBits)
    } catch {
      fail("address layout", error)
    }
  }

  @inline(never)
  private func describeMemory(_ deviceTree: UInt, _ early: EarlyAddressSpace) {
    let board = KernelObjects.board
    let map = KernelObjects.memory
    map.initialize(to: PhysicalMemoryMap())
    do {
      for index in 0..<board.pointee.memoryCount {
        let range = board.pointee.memory[index]
        try map.pointee.addMemory(
          start: PhysicalAddress(range.start), byteCount: Int(clamping: range.byteCount),
          node: NodeID(range.node))
      }
      for index in 0..<board.pointee.reservationCount where board.pointee.reservations[index].byteCount > 0 {
        let range = board.pointee.reservations[index]
        try map.pointee.reserve(
          start: PhysicalAddress(range.start), byteCount: Int(clamping: range.byteCount))
      }
      let image = early.physical(kernel_image_start())
      try map.pointee.reserve(
        start: PhysicalAddress(image), byteCount: Int(kernel_image_end() - kernel_image_start()))
      let tree = UnsafeRawPointer(bitPattern: deviceTree + EarlyAddressSpace.linearMapOffset).unsafelyUnwrapped
      try map.pointee.reserve(
        start: PhysicalAddress(deviceTree), byteCount: Int(FlattenedDeviceTree.word(tree, 4)))
      if board.pointee.initialRAMDisk.byteCount > 0 {
        try map.pointee.reserve(
          start: PhysicalAddress(board.pointee.initialRAMDisk.start),
          byteCount: Int(clamping: board.pointee.initialRAMDisk.byteCount))
      }
    } catch {
      fail("memory", error)
    }
  }

  @inline(never)
  private func buildAddressSpace(_ layout: AddressLayout, _ early: EarlyAddressSpace) -> MetadataPlace {
    let board = KernelObjects.board
    let map = KernelObjects.memory
    let tableFrames = KernelAddressSpace.frameLimit(map.pointee)
    let metadataBytes = BuddyAllocator<AArch64>.metadataByteCount(
      for: map.pointee, cpuCount: board.pointee.cpuCount)
    let needed = tableFrames * pageSize + metadataBytes
    guard let start = map.pointee.lowestUnreserved(byteCount: needed) else {
      fail("memory is too small for the kernel's own tables")
    }
    guard early.isMapped(start.rawValue), early.isMapped(start.rawValue + UInt(needed)) else {
      fail("no room for the kernel's own tables in the same GiB as its image")
    }
    let frames = EarlyFrames(first: start.frame, end: start.frame + tableFrames)
    do {
      let space = try KernelAddressSpace(layout, early: early, frames: frames)
      try space.mapImage(frames: frames)
      for index in 0..<map.pointee.memoryRangeCount {
        try space.mapLinear(map.pointee.memoryRange(at: index), frames: frames)
      }
      if board.pointee.uart.byteCount > 0 { try space.mapDevice(board.pointee.uart, frames: frames) }
      try space.mapDevice(board.pointee.distributor, frames: frames)
      try space.mapDevice(board.pointee.cpuInterface, frames: frames)
      space.enter()
    } catch {
      fail("translation tables", error)
    }
    if board.pointee.uart.byteCount > 0 {
      Console.use(serialPort: board.pointee.uart.start + layout.linearMapOffset)
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

  private func startInterrupts() {
    let board = KernelObjects.board
    let offset = AArch64().linearMapOffset
    AArch64().startInstructionCounter()
    Interrupts.start(
      InterruptController(
        distributor: board.pointee.distributor.start + offset,
        cpuInterface: board.pointee.cpuInterface.start + offset),
      timer: TickTimer(privateInterrupt: board.pointee.timerInterrupt))
  }
#endif
