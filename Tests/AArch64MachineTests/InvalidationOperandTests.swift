// The operands of TLB invalidation, against values worked out from the architecture manual by hand.

import KernelMachine
import Testing

@testable import AArch64Machine

struct InvalidationOperandTests {
  @Test func aSpaceIsNamedByItsASIDInTheTopBits() {
    #expect(AddressSpaceID(0x1234).invalidationOperand == 0x1234_0000_0000_0000)
    #expect(AddressSpaceID(.max).invalidationOperand == 0xffff_0000_0000_0000)
    #expect(AddressSpaceID.kernel.invalidationOperand == 0)
  }

  @Test func aPageIsNamedByItsSpaceAndBits55To12OfItsAddress() {
    let user = AddressSpaceID(0x1234)
    #expect(user.invalidationOperand(of: VirtualAddress(0x40_0000)) == 0x1234_0000_0000_0400)
    #expect(user.invalidationOperand(of: VirtualAddress(0x7f_ffff_f000)) == 0x1234_0000_07ff_ffff)
  }

  @Test func nothingOfAKernelAddressReachesTheASIDOrTheLevelHint() {
    let address = VirtualAddress(0xffff_ff80_0800_0000)
    #expect(AddressSpaceID.kernel.invalidationOperand(of: address) == 0x0000_0fff_f800_8000)
  }

  @Test func theNextPagesOperandIsOneMore() {
    let user = AddressSpaceID(7)
    let first = user.invalidationOperand(of: VirtualAddress(0x40_0000))
    #expect(user.invalidationOperand(of: VirtualAddress(0x40_1000)) == first + 1)
  }
}
