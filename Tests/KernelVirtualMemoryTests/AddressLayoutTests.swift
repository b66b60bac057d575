// The bounds of the parts of the address space.

import KernelStacks
import Testing

@Suite struct AddressLayoutTests {
  @Test func `The default is 39 bits`() throws {
    let layout = try AddressLayout()
    #expect(layout.virtualAddressBits == 39)
    #expect(layout.rootLevel == 1)
    #expect(layout.kernelImage.lowerBound.rawValue == 0xffff_ff80_0000_0000)
    #expect(layout.vmallocArea.lowerBound.rawValue == 0xffff_ff80_0800_0000)
    #expect(layout.vmallocArea.upperBound.rawValue == 0xffff_ffbc_0000_0000)
    #expect(layout.linearMapOffset == 0xffff_ffc0_0000_0000)
    #expect(layout.vmallocArea.byteCount >> 30 == 239, "about 240 GiB")
  }

  @Test func `48 bits have a layout of their own`() throws {
    let layout = try AddressLayout(virtualAddressBits: 48)
    #expect(layout.rootLevel == 0)
    #expect(layout.kernelImage == (try AddressLayout()).kernelImage, "the image is linked once")
    #expect(layout.vmallocArea.lowerBound.rawValue == 0xffff_0000_0800_0000)
    #expect(layout.vmallocArea.upperBound.rawValue == 0xffff_7c00_0000_0000)
    #expect(layout.linearMapOffset == 0xffff_8000_0000_0000)
  }

  @Test(arguments: [39, 48]) func `The parts are whole pages and do not overlap`(bits: Int) throws {
    let layout = try AddressLayout(virtualAddressBits: bits)
    let parts = [layout.userSpace, layout.kernelImage, layout.vmallocArea, layout.linearMap]
      .sorted { $0.lowerBound < $1.lowerBound }
    for (a, b) in zip(parts, parts.dropFirst()) { #expect(a.upperBound <= b.lowerBound) }
    for part in parts {
      #expect(part.lowerBound < part.upperBound)
      #expect((part.lowerBound.rawValue | part.upperBound.rawValue) & 0xfff == 0)
    }
    #expect(layout.userSpace.byteCount == 1 << bits)
    for part in parts.dropFirst() {
      #expect(part.lowerBound.rawValue >> UInt(bits) == UInt.max >> UInt(bits), "in the kernel's half")
    }
  }

  @Test(arguments: [TranslationGranule.sixteenKiB, .sixtyFourKiB])
  func `Larger granules are refused`(granule: TranslationGranule) {
    #expect(throws: AddressLayoutError.unsupportedGranule(granule)) {
      try AddressLayout(virtualAddressBits: 39, granule: granule)
    }
  }

  @Test(arguments: [0, 36, 42, 47, 52, -1]) func `Other numbers of bits are refused`(bits: Int) {
    #expect(throws: AddressLayoutError.unsupportedAddressBits(bits)) {
      try AddressLayout(virtualAddressBits: bits)
    }
  }

  @Test func `Errors say what is supported`() {
    #expect(
      AddressLayoutError.unsupportedGranule(.sixteenKiB).description
        == "pages of 16 KiB are not supported: a kernel stack would fit one page; only 4 KiB pages are")
    #expect(
      AddressLayoutError.unsupportedAddressBits(42).description
        == "virtual addresses of 42 bits are not supported: only 39 and 48 are")
  }
}
