// The loader of the EL0 program: an ELF file that the boot loader passes as the initial RAM disk.
import AArch64Machine
import DeviceTree
import KernelProcesses
import KernelStacks
import Scenarios

/// Parses the program in the initial RAM disk, in place.
func loadProgram(_ file: BoardRange) throws(ProgramFileError) -> ProgramImage {
  guard file.byteCount > 0 else { throw .missing }
  return try ProgramImage(
    file: UnsafeRawBufferPointer(
      start: AArch64().pointer(to: PhysicalAddress(file.start)), count: Int(file.byteCount)))
}
