// The operands of TLB invalidation, against values worked out from the architecture manual by hand: an emulator without
// ASIDs in its TLB, such as QEMU, would not notice a wrong one.

import KernelMachine
import Testing

@Suite struct TLBInstructionTests {
  private func operand(_ space: AddressSpaceID, _ address: UInt) -> UInt64 {
    TLBInstruction.operand(space, page: VirtualAddress(address))
  }

  @Test func `A space is named by its ASID in the top bits`() {
    #expect(TLBInstruction.operand(AddressSpaceID(0x1234)) == 0x1234_0000_0000_0000)
    #expect(TLBInstruction.operand(AddressSpaceID(.max)) == 0xffff_0000_0000_0000)
    #expect(TLBInstruction.operand(.kernel) == 0)
  }

  @Test func `A page is named by its space and bits 55 to 12 of its address`() {
    #expect(operand(AddressSpaceID(0x1234), 0x40_0000) == 0x1234_0000_0000_0400)
    #expect(operand(AddressSpaceID(0x1234), 0x7f_ffff_f000) == 0x1234_0000_07ff_ffff)
  }

  @Test func `Nothing of a kernel address reaches the ASID or the level hint`() {
    #expect(operand(.kernel, 0xffff_ff80_0800_0000) == 0x0000_0fff_f800_8000)
  }

  @Test func `The next page's operand is one more`() {
    let user = AddressSpaceID(7)
    #expect(operand(user, 0x40_1000) == operand(user, 0x40_0000) + 1)
  }
}
