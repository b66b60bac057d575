// Reads the device tree that the boot loader passes, on the boot CPU. Each value is checked before it is used; an invalid one
// is reported on the console and ends the machine.
import CAArch64
import DeviceTree
import KernelAssembly
import KernelStacks

/// Reads the device tree and finds the console in it; ends the machine if the tree is invalid or lacks what the kernel needs.
@inline(never)
func readBoard(_ deviceTree: UInt, _ early: EarlyAddressSpace) {
  let board = KernelObjects.board
  do throws(DeviceTreeError) {
    let tree = try findTree(deviceTree, early)
    board.initialize(to: Board(tree, bootAffinity: ca_read_mpidr_el1()))
  } catch {
    fail("device tree", error)
  }
  Console.use(board.pointee.firmware)
  if board.pointee.powerManager.byteCount > 0,
    let registers = early.mapPowerManager(board.pointee.powerManager.start)
  {
    Console.use(powerManager: registers)
  }
  if let port = board.pointee.serialPort, let registers = early.mapConsole(port.registers.start) {
    Console.use(BoardSerial(port.kind, mappedAt: registers))
  }
  guard ca_wants_lse() == 0 || ca_has_lse() != 0 else {
    // The console's lock is one of the atomics that are missing.
    var console = Console()
    console.write(#"{"type":"error","message":"this kernel needs CPUs with FEAT_LSE"}"#)
    console.write("\n")
    exitMachine(.failure)
  }
  if overlapsImage(treeRange, early) { fail("device tree", DeviceTreeError.overlapsImage) }
  if let error = board.pointee.error { fail("device tree", error) }
  guard board.pointee.memoryCount > 0 else { fail("the device tree describes no memory") }
  guard board.pointee.rangesLeftOut == 0 else {
    fail("the device tree describes more ranges of memory than fit")
  }
  checkCPUs()
  guard board.pointee.interruptController != nil else {
    if board.pointee.unknownInterruptController.byteCount > 0 {
      fail(
        "the interrupt controller is none that the kernel drives",
        FirstString(board.pointee.unknownInterruptController))
    }
    fail("the device tree describes no interrupt controller")
  }
  guard board.pointee.timerInterrupt >= 0 else { fail("the device tree describes no generic timer") }
  guard CommandLine.copy(board.pointee.commandLine) else {
    fail("the command line is longer than 1024 bytes")
  }
}

nonisolated(unsafe) private var treeRange = BoardRange()

/// The physical range of the whole device tree.
var deviceTreeRange: BoardRange { treeRange }

private func findTree(_ deviceTree: UInt, _ early: EarlyAddressSpace) throws(DeviceTreeError)
  -> FlattenedDeviceTree
{
  guard deviceTree != 0, deviceTree % 8 == 0 else { throw .missing }
  treeRange = BoardRange(start: deviceTree, byteCount: UInt(FlattenedDeviceTree.headerByteCount))
  // A tree that begins inside the image is lost: boot.S has cleared bss.
  if overlapsImage(treeRange, early) { throw .overlapsImage }
  guard let header = early.mapTree(deviceTree, byteCount: FlattenedDeviceTree.headerByteCount) else {
    throw .missing
  }
  let byteCount = try FlattenedDeviceTree.byteCount(header: header)
  treeRange.byteCount = UInt(byteCount)
  guard let memory = early.mapTree(deviceTree, byteCount: byteCount) else { throw .missing }
  return try FlattenedDeviceTree(in: memory)
}

private func overlapsImage(_ range: BoardRange, _ early: EarlyAddressSpace) -> Bool {
  range.overlaps(imageRange(early))
}

private func imageRange(_ early: EarlyAddressSpace) -> BoardRange {
  BoardRange(
    start: early.physical(kernel_image_start()), byteCount: kernel_image_end() - kernel_image_start())
}

// A tree with a CPU that is started in an unknown way is refused.
private func checkCPUs() {
  let board = KernelObjects.board
  let count = board.pointee.cpuCount
  guard count > 0 else { fail("the device tree describes no CPU") }
  guard count <= Board.maximumCPUs else { fail("the device tree describes more than 64 CPUs") }
  guard board.pointee.namesBootCPU else {
    fail("the device tree does not describe the CPU that the kernel was started on")
  }
  for number in 1..<max(count, 1) {
    switch board.pointee.cpus[number].startMethod {
    case .spinTable: break
    case .firmware:
      if !board.pointee.firmware.startsCPUs {
        fail("the device tree describes several CPUs, but no PSCI firmware to start them by")
      }
    case .unknown:
      if board.pointee.unknownStartMethod.byteCount == 0 {
        fail("the device tree does not say how its CPUs are started")
      }
      fail(
        "a CPU is started in a way that the kernel does not know", FirstString(board.pointee.unknownStartMethod)
      )
    }
  }
  ca_cpu_at(0).pointee.node = UInt64(board.pointee.cpus[0].node)
  ca_machine().pointee.cpu_count = UInt64(count)
}

/// Fills the map of physical memory with RAM and its reserved ranges; ends the machine if they contradict each other.
@inline(never)
func describeMemory(_ early: EarlyAddressSpace) {
  let board = KernelObjects.board
  let map = PhysicalMemoryMap.makeEmpty(in: KernelObjects.memory)
  let image = imageRange(early)
  let ramDisk = board.pointee.initialRAMDisk
  do {
    try board.pointee.addMemory(to: &map.pointee)
    guard isMemory(image) else { fail("the kernel's image does not lie in memory that may be mapped") }
    try map.pointee.reserve(start: PhysicalAddress(image.start), byteCount: Int(image.byteCount))
    try map.pointee.reserve(start: PhysicalAddress(treeRange.start), byteCount: Int(treeRange.byteCount))
    if ramDisk.byteCount > 0 {
      guard isMemory(ramDisk) else { fail("the initial RAM disk does not lie in memory that may be mapped") }
      if ramDisk.overlaps(image) { fail("the initial RAM disk overlaps the kernel's image") }
      try map.pointee.reserve(start: PhysicalAddress(ramDisk.start), byteCount: Int(ramDisk.byteCount))
    }
  } catch {
    fail("memory", error)
  }
}

/// Whether all bytes of a range are RAM that the linear map covers, now or once it is built.
func isMemory(_ range: BoardRange) -> Bool {
  for index in 0..<KernelObjects.memory.pointee.memoryRangeCount {
    let memory = KernelObjects.memory.pointee.memoryRange(at: index)
    let bytes = BoardRange(
      start: memory.firstFrame.physicalAddress.rawValue, byteCount: UInt(memory.frameCount) * UInt(pageSize))
    if bytes.contains(range) { return true }
  }
  return false
}

/// The first string of a property, as text.
private struct FirstString: TextDescribable {
  let value: DeviceTreeValue

  init(_ value: DeviceTreeValue) { self.value = value }

  /// Writes printable characters as they are, and others as `?`: the text is part of a line of JSON.
  func write<Sink: TextSink>(to sink: inout Sink) {
    for byte in value.bytes {
      if byte == 0 { return }
      let isPlain = byte >= 0x20 && byte < 0x7f && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
      sink.write(byte: isPlain ? byte : UInt8(ascii: "?"))
    }
  }
}
