// The operand of the TLB invalidation instructions. Compiled for the host too: an emulator whose TLB knows no ASIDs, as
// QEMU's, would not notice a wrong one.
//
//   63      48 47  44 43                       0
//  +----------+------+--------------------------+
//  |   ASID   |  0   |        VA[55:12]         |
//  +----------+------+--------------------------+
//
// Source: Arm Architecture Reference Manual (DDI 0487), C5.5 "A64 System instructions for TLB maintenance".

public import KernelMachine

extension AddressSpaceID {
  /// The operand that names all translations of this address space.
  @inlinable var invalidationOperand: UInt64 { UInt64(rawValue) &<< 48 }

  /// The operand that names one page of this address space; that of the page above it is 1 more.
  ///
  /// Global translations match whatever the ASID is.
  @inlinable func invalidationOperand(of page: VirtualAddress) -> UInt64 {
    invalidationOperand | UInt64((page.rawValue &>> 12) & 0xfff_ffff_ffff)
  }
}
