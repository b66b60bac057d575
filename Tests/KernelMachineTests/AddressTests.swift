// Arithmetic of addresses, frames and ranges.

import KernelMachine
import Testing

struct AddressTests {
  @Test func `A frame and its physical address name each other`() {
    #expect(PageFrame(0x40000).physicalAddress == PhysicalAddress(0x4000_0000))
    #expect(PhysicalAddress(0x4000_0fff).frame == PageFrame(0x40000))
    #expect(PhysicalAddress(0x4000_1000).frame == PageFrame(0x40001))
  }

  @Test func `Differences are signed and in their own unit`() {
    #expect(PageFrame(10) - PageFrame(12) == -2)
    #expect(VirtualAddress(0x3000) - VirtualAddress(0x1000) == 0x2000)
    #expect((VirtualAddress(0x1fff)).pageBase == VirtualAddress(0x1000))
  }

  @Test func `A range contains its first byte and not the one above`() {
    let range = VirtualAddressRange(VirtualAddress(0x1000), byteCount: 0x2000)
    #expect(range.contains(VirtualAddress(0x1000)) && range.contains(VirtualAddress(0x2fff)))
    #expect(!range.contains(VirtualAddress(0x0fff)) && !range.contains(VirtualAddress(0x3000)))
    #expect(range.pageCount == 2)
  }
}
