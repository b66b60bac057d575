// The ways in which CPUs are started: by firmware, or by a spin table.
//
// A spin table is a word of memory for each CPU, which the CPU reads, its caches off, until it is not 0; then it jumps there. No
// register has an argument. So the kernel has a list of its own, in which the CPU finds its affinity (boot.S):
//
//   spin_list   | affinity | physical address of what it reads at its start | … |     16 bytes for each CPU
//
// Source: Devicetree Specification, release 0.4, 3.8.1; Linux, Documentation/arm64/booting.rst.
import AArch64Machine
import CAArch64
import DeviceTree
import KernelAssembly
import KernelStacks

/// A way to start CPUs.
protocol CPUStartMethod {
  /// Starts a CPU.
  ///
  /// - Parameters:
  ///   - cpu: the CPU.
  ///   - index: its place in the board's list.
  ///   - argument: the physical address of the `kernel_cpu_start` that it reads.
  /// - Returns: whether it has been told to start.
  func start(_ cpu: BoardCPU, index: Int, argument: PhysicalAddress) -> Bool
}

extension BoardFirmware: CPUStartMethod {
  func start(_ cpu: BoardCPU, index: Int, argument: PhysicalAddress) -> Bool {
    start(cpu.affinity, at: imagePhysicalAddress(kernel_secondary_start()), argument: argument)
  }
}

/// CPUs that read the address where they begin from a word in memory.
struct SpinTable: CPUStartMethod {
  func start(_ cpu: BoardCPU, index: Int, argument: PhysicalAddress) -> Bool {
    let entry = kernel_spin_list() + UInt(16 * index)
    ca_store(entry + 8, UInt64(argument.rawValue))
    ca_store(entry, cpu.affinity)
    let state = ca_disable_interrupts()
    ca_clean_to_coherency(entry, 16)
    ca_restore_interrupts(state)
    return release(cpu, to: kernel_secondary_spin_start())
  }

  /// Has a CPU jump to an address of the image; returns whether its word can be written.
  func release(_ cpu: BoardCPU, to address: UInt) -> Bool {
    let range = BoardRange(start: cpu.releaseAddress, byteCount: 8)
    guard range.start % 8 == 0, isMemory(range) else { return false }
    let word = range.start + UInt(ca_machine().pointee.linear_map_offset)
    let state = ca_disable_interrupts()
    ca_store(word, UInt64(imagePhysicalAddress(address).rawValue))
    ca_clean_to_coherency(word, 8)
    ca_restore_interrupts(state)
    ca_send_event()
    return true
  }
}

/// Lets the CPUs of a spin table from this one of the board on, which the kernel is not to use, sleep for good.
func restCPUs(from first: Int) {
  let board = KernelObjects.board
  for index in first..<board.pointee.cpuCount
  where board.pointee.cpus[index].startMethod == .spinTable {
    _ = SpinTable().release(board.pointee.cpus[index], to: kernel_secondary_rest())
  }
}

/// Starts a CPU of the board in the way that the device tree gives.
func tellToStart(_ index: Int, argument: PhysicalAddress) -> Bool {
  let cpu = KernelObjects.board.pointee.cpus[index]
  return switch cpu.startMethod {
  case .firmware: KernelObjects.board.pointee.firmware.start(cpu, index: index, argument: argument)
  case .spinTable: SpinTable().start(cpu, index: index, argument: argument)
  case .unknown: false
  }
}
