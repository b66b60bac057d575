// The address space before the final tables: the mappings of boot.S, and those that building the final tables takes.
//
//   ffffff80 00000000   image           by boot.S
//   ffffff80 40000000   device tree     its pages, read-only
//   ffffff80 40800000   serial port     its page, device memory
//   ffffff80 40c00000   power manager   its page, device memory
//   ffffff80 41000000   final tables    the frames that are set aside for them
//
// Nothing else is mapped, and all of this in pages, wherever it lies in physical memory: a CPU may speculate into any normal
// memory, and a stray access to firmware or a device is an SError.
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelStacks

/// The address space in use until the final translation tables are.
struct EarlyAddressSpace {
  /// The physical address that the lower bound of the kernel half is mapped to.
  let imageBase: UInt

  private static var imageWindow: UInt { 0xffff_ff80_0000_0000 }
  private static var treeWindow: UInt { 0xffff_ff80_4000_0000 }
  private static var consoleWindow: UInt { 0xffff_ff80_4080_0000 }
  private static var powerWindow: UInt { 0xffff_ff80_40c0_0000 }
  private static var tablesWindow: UInt { 0xffff_ff80_4100_0000 }

  /// Points the machine handle at the image and the early tables in it.
  init(imageBase: UInt) {
    self.imageBase = imageBase
    let machine = ca_machine()
    machine.pointee.linear_map_offset = UInt64(Self.imageWindow &- imageBase)
    machine.pointee.virtual_address_bits = 39
    machine.pointee.cpu_count = 1
  }

  /// The physical address of an address in the image.
  func physical(_ imageAddress: UInt) -> UInt { imageAddress - Self.imageWindow + imageBase }

  /// The root of the early upper half: the fifth of the tables of boot.S.
  var root: PhysicalAddress { PhysicalAddress(physical(kernel_early_tables() + 0x4000)) }

  /// A table that is always empty.
  var emptyRoot: PhysicalAddress { PhysicalAddress(physical(kernel_empty_table())) }

  /// Maps the first `byteCount` bytes of the device tree, read-only.
  ///
  /// - Returns: the mapped bytes; `nil` if the range exceeds physical addresses or no frame is left for tables.
  func mapTree(_ start: UInt, byteCount: Int) -> UnsafeRawBufferPointer? {
    guard let window = map(start, byteCount, at: Self.treeWindow, .kernelReadOnly, .normal) else {
      return nil
    }
    return UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: window), count: byteCount)
  }

  /// Maps the first page of a serial port's registers.
  ///
  /// - Returns: their virtual address; `nil` if the range exceeds physical addresses or no frame is left for tables.
  func mapConsole(_ start: UInt) -> UInt? { map(start, 1, at: Self.consoleWindow, .kernelReadWrite, .device) }

  /// Maps the first page of a power manager's registers, as ``mapConsole(_:)`` does.
  func mapPowerManager(_ start: UInt) -> UInt? {
    map(start, 1, at: Self.powerWindow, .kernelReadWrite, .device)
  }

  /// Maps the frames set aside for the final tables, and points the machine handle at them.
  ///
  /// - Returns: whether the early tables had room for them.
  func mapTables(_ start: PhysicalAddress, frameCount: Int) -> Bool {
    let byteCount = frameCount * pageSize
    guard let window = map(start.rawValue, byteCount, at: Self.tablesWindow, .kernelReadWrite, .normal) else {
      return false
    }
    ca_machine().pointee.linear_map_offset = UInt64(window &- start.rawValue)
    return true
  }

  // Pages that are already mapped keep their mappings.
  private func map(
    _ start: UInt, _ byteCount: Int, at window: UInt, _ permissions: PagePermissions, _ kind: MemoryKind
  ) -> UInt? {
    guard byteCount > 0, start < 1 << 48, UInt(byteCount) <= 1 << 48 - start else { return nil }
    let tables = TranslationTables(root: root, machine: AArch64())
    let frames = EarlyFrames.forEarlyTables(self)
    let last = PhysicalAddress(start + UInt(byteCount) - 1).frame
    var frame = PhysicalAddress(start).frame
    var page = VirtualAddress(window)
    while frame <= last {
      if tables.translate(page) == nil {
        do { try tables.map(frame, at: page, permissions, kind: kind, frames: frames) } catch { return nil }
      }
      frame = frame + 1
      page = page + pageSize
    }
    return window + start % UInt(pageSize)
  }
}
