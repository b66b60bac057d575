// The reader of ELF files and the layout of flat images.

import ImageTools
import Testing

@Suite struct ElfFileTests {
  @Test func `Segments, sections and symbols are read`() throws {
    var elf = HandMadeElf()
    elf.segments = [.init(address: 0x4008_0000, bytes: [1, 2, 3], memoryByteCount: 10)]
    elf.text = [0xd503_201f, 0xd65f_03c0]
    elf.symbols = [("start", 0x4008_0000), ("$x", 0x4008_0000)]
    let file = try ElfFile(elf.bytes)

    #expect(file.entry == 0x4008_0000)
    let segment = try #require(file.segments.first)
    #expect(file.segments.count == 1)
    #expect(segment.physicalAddress == 0x4008_0000)
    #expect(segment.virtualAddress == 0xffff_ff80_4008_0000)
    #expect(segment.memoryByteCount == 10)
    #expect(Array(file.contents(of: segment)) == [1, 2, 3])
    #expect(file.sections.map(\.name) == ["", ".text", ".symtab", ".strtab", ".strtab"].map { $0 })
    #expect(file.sections[1].isCode)
    #expect(file.contents(of: file.sections[1]).count == 8)
    #expect(file.symbols.map(\.name) == ["", "start", "$x"])
    #expect(file.symbols[1].address == 0x4008_0000)
    #expect(file.symbols[1].type == 2)
  }

  @Test func `A file that is no ELF file is refused`() {
    #expect(throws: ElfError.unsupported("it does not begin with \\x7fELF")) {
      try ElfFile(Array("#!/bin/sh".utf8))
    }
    #expect(throws: ElfError.unsupported("it does not begin with \\x7fELF")) { try ElfFile([]) }
  }

  @Test func `Another machine is refused by number`() {
    var elf = HandMadeElf()
    elf.machine = 62
    #expect(throws: ElfError.unsupported("its machine is 62, not 183 (AArch64)")) { try ElfFile(elf.bytes) }
  }

  @Test func `Every shortened file is refused without a trap`() throws {
    var elf = HandMadeElf()
    elf.segments = [.init(address: 0x4000_0000, bytes: [9, 9], memoryByteCount: 2)]
    elf.text = [0xd503_201f]
    elf.symbols = [("f", 0x4008_0000)]
    let whole = elf.bytes
    _ = try ElfFile(whole)
    for count in whole.indices {
      #expect(throws: ElfError.self, "cut to \(count) bytes") { try ElfFile(Array(whole[..<count])) }
    }
  }

  @Test func `Segments lie in the image at their physical addresses`() throws {
    var elf = HandMadeElf()
    elf.segments = [
      .init(address: 0x4008_1000, bytes: [7, 8], memoryByteCount: 0x500),
      .init(
        address: 0x4008_0000, bytes: HandMadeElf.imageHeader(imageSize: 0x1500, count: 80), memoryByteCount: 80),
    ]
    let image = try FlatImage(ElfFile(elf.bytes))
    #expect(image.physicalAddress == 0x4008_0000)
    #expect(image.memoryByteCount == 0x1500)
    #expect(image.bytes.count == 0x1002)
    #expect(Array(image.bytes[0x1000...]) == [7, 8])
    #expect(image.bytes[80..<0x1000].allSatisfy { $0 == 0 })
  }

  @Test func `An image without its header is refused`() {
    var elf = HandMadeElf()
    elf.segments = [.init(address: 0, bytes: [UInt8](repeating: 0, count: 100), memoryByteCount: 100)]
    #expect(throws: ElfError.notAnImage("the arm64 header's magic ARM\\x64 is missing at byte 56")) {
      try FlatImage(ElfFile(elf.bytes))
    }
  }

  @Test func `A header that claims less memory than the kernel needs is refused`() {
    var elf = HandMadeElf()
    elf.segments = [
      .init(address: 0, bytes: HandMadeElf.imageHeader(imageSize: 100, count: 100), memoryByteCount: 101)
    ]
    #expect(throws: ElfError.notAnImage("the header's image size is 100 bytes, the kernel occupies 101")) {
      try FlatImage(ElfFile(elf.bytes))
    }
  }

  @Test func `Overlapping segments are refused`() {
    var elf = HandMadeElf()
    elf.segments = [
      .init(address: 0, bytes: HandMadeElf.imageHeader(imageSize: 200, count: 100), memoryByteCount: 100),
      .init(address: 50, bytes: [1], memoryByteCount: 1),
    ]
    #expect(throws: ElfError.notAnImage("the segment at 0x32 overlaps the one before it")) {
      try FlatImage(ElfFile(elf.bytes))
    }
  }

  @Test func `A file without segments is no image`() {
    #expect(throws: ElfError.notAnImage("the file has no loadable segment")) {
      try FlatImage(ElfFile(HandMadeElf().bytes))
    }
  }
}
