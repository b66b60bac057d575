// The address space that boot.S has made: 39 bits, the GiB of the image and that of the device tree in the linear map.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelAssembly
  import KernelStacks

  /// What holds until the final translation tables are in use.
  struct EarlyAddressSpace {
    static var linearMapOffset: UInt { 0xffff_ffc0_0000_0000 }

    /// The physical address that the lower bound of the kernel half is mapped to.
    let imageBase: UInt

    /// Lets the machine handle find physical memory.
    init(imageBase: UInt) {
      self.imageBase = imageBase
      let machine = ca_machine()
      machine.pointee.linear_map_offset = UInt64(Self.linearMapOffset)
      machine.pointee.virtual_address_bits = 39
      machine.pointee.cpu_count = 1
    }

    /// The physical address of something in the image.
    func physical(_ imageAddress: UInt) -> UInt { imageAddress - 0xffff_ff80_0000_0000 + imageBase }

    /// Whether a physical address can be reached.
    func isMapped(_ address: UInt) -> Bool { entry(of: address).pointee & 1 != 0 }

    /// Maps the GiB of a device if nothing else is there, so that there is a console early on.
    func mapDevice(_ address: UInt) -> Bool {
      let entry = entry(of: address)
      guard address >> 39 == 0, entry.pointee == 0 else { return false }
      let gigabyte = PhysicalAddress(address & ~((1 << 30) - 1)).frame
      entry.pointee = PageTableEntry.block(gigabyte, .kernelReadWrite, kind: .device).rawValue
      AArch64().publishEntries()
      return true
    }

    // Level 1 of the upper half is the second of the early tables; the linear map begins in its middle.
    private func entry(of address: UInt) -> UnsafeMutablePointer<UInt64> {
      let table = kernel_early_tables() + 4096
      return UnsafeMutablePointer<UInt64>(bitPattern: table + (256 + (address >> 30 & 255)) * 8)
        .unsafelyUnwrapped
    }
  }
#endif
