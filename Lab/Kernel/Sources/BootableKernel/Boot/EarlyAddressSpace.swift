// The address space before the final tables: what boot.S has mapped, and what is needed to build those.
//
//   ffffff80 00000000   image           by boot.S
//   ffffff80 40000000   device tree     its pages, read-only
//   ffffff80 40800000   serial port     its page, device memory
//   ffffff80 41000000   final tables    the frames that are set aside for them
//
// Nothing else is mapped, in whole pages, wherever it lies in physical memory: a CPU may speculate into whatever is normal
// memory, and an access to firmware or to a device by mistake is an SError.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelAssembly
  import KernelStacks

  /// What holds until the final translation tables are in use.
  struct EarlyAddressSpace {
    /// The physical address that the lower bound of the kernel half is mapped to.
    let imageBase: UInt

    private static var imageWindow: UInt { 0xffff_ff80_0000_0000 }
    private static var treeWindow: UInt { 0xffff_ff80_4000_0000 }
    private static var consoleWindow: UInt { 0xffff_ff80_4080_0000 }
    private static var tablesWindow: UInt { 0xffff_ff80_4100_0000 }

    /// Lets the machine handle find the image, and the early tables in it.
    init(imageBase: UInt) {
      self.imageBase = imageBase
      let machine = ca_machine()
      machine.pointee.linear_map_offset = UInt64(Self.imageWindow &- imageBase)
      machine.pointee.virtual_address_bits = 39
      machine.pointee.cpu_count = 1
    }

    /// The physical address of something in the image.
    func physical(_ imageAddress: UInt) -> UInt { imageAddress - Self.imageWindow + imageBase }

    /// The root of the early upper half: the fifth of the tables of boot.S.
    var root: PhysicalAddress { PhysicalAddress(physical(kernel_early_tables() + 0x4000)) }

    /// An empty table, which stays empty.
    var emptyRoot: PhysicalAddress { PhysicalAddress(physical(kernel_empty_table())) }

    /// Maps the device tree as far as it is known.
    ///
    /// - Returns: what can be read of it from here on; `nil` where no physical address is that large.
    func mapTree(_ start: UInt, byteCount: Int) -> UnsafeRawBufferPointer? {
      guard let window = map(start, byteCount, at: Self.treeWindow, .kernelReadOnly, .normal) else {
        return nil
      }
      return UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: window), count: byteCount)
    }

    /// Maps the first page of a serial port's registers.
    ///
    /// - Returns: their virtual address; `nil` where no physical address is that large.
    func mapConsole(_ start: UInt) -> UInt? { map(start, 1, at: Self.consoleWindow, .kernelReadWrite, .device) }

    /// Maps the frames that the final tables are made of, and lets the machine handle find those from here on.
    ///
    /// - Returns: whether there was room for as many.
    func mapTables(_ start: PhysicalAddress, frameCount: Int) -> Bool {
      let byteCount = frameCount * pageSize
      guard let window = map(start.rawValue, byteCount, at: Self.tablesWindow, .kernelReadWrite, .normal) else {
        return false
      }
      ca_machine().pointee.linear_map_offset = UInt64(window &- start.rawValue)
      return true
    }

    // Pages that are mapped already stay as they are.
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
#endif
