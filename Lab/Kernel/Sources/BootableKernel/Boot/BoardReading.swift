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
  if board.pointee.uart.byteCount > 0, let console = early.mapConsole(board.pointee.uart.start) {
    Console.use(serialPort: console)
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

// All CPUs of the device tree are started; a tree with a CPU that cannot be started is refused.
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
