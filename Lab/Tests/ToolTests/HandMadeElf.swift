// A writer of small ELF64 files, byte by byte, independent of the reader.

struct HandMadeElf {
  struct Segment {
    var address: UInt64
    var bytes: [UInt8]
    var memoryByteCount: Int
  }

  var machine: UInt16 = 183
  var segments: [Segment] = []
  /// The contents of one section `.text`, linked at `textAddress`.
  var text: [UInt32] = []
  var textAddress: UInt64 = 0x4008_0000
  /// Names and values of symbols in `.text`; those that begin with `$` have no type, the others are functions.
  var symbols: [(name: String, address: UInt64)] = []

  var bytes: [UInt8] {
    var file = [UInt8](repeating: 0, count: 64)
    let headers = file.count
    file += [UInt8](repeating: 0, count: 56 * segments.count)
    for (index, segment) in segments.enumerated() {
      let at = headers + 56 * index
      put(UInt32(1), at: at, in: &file)
      put(UInt32(5), at: at + 4, in: &file)
      put(UInt64(file.count), at: at + 8, in: &file)
      put(segment.address | 0xffff_ff80_0000_0000, at: at + 16, in: &file)
      put(segment.address, at: at + 24, in: &file)
      put(UInt64(segment.bytes.count), at: at + 32, in: &file)
      put(UInt64(segment.memoryByteCount), at: at + 40, in: &file)
      file += segment.bytes
    }

    let textOffset = file.count
    for word in text { file += littleEndian(word) }
    var names: [UInt8] = [0]
    var table = [UInt8](repeating: 0, count: 24)
    for symbol in symbols {
      table += littleEndian(UInt32(names.count))
      table += [symbol.name.hasPrefix("$") ? 0 : 2, 0] + littleEndian(UInt16(1))
      table += littleEndian(symbol.address) + littleEndian(UInt64(0))
      names += Array(symbol.name.utf8) + [0]
    }
    let tableOffset = file.count
    file += table
    let namesOffset = file.count
    file += names
    let sectionNames = Array("\0.text\0.symtab\0.strtab\0".utf8)
    let sectionNamesOffset = file.count
    file += sectionNames

    let sectionHeaders = file.count
    file += sectionHeader(name: 0, type: 0, flags: 0, address: 0, offset: 0, size: 0, link: 0)
    file += sectionHeader(
      name: 1, type: 1, flags: 6, address: textAddress, offset: textOffset, size: 4 * text.count, link: 0)
    file += sectionHeader(
      name: 7, type: 2, flags: 0, address: 0, offset: tableOffset, size: table.count, link: 3)
    file += sectionHeader(
      name: 15, type: 3, flags: 0, address: 0, offset: namesOffset, size: names.count, link: 0)
    file += sectionHeader(
      name: 15, type: 3, flags: 0, address: 0, offset: sectionNamesOffset, size: sectionNames.count, link: 0)

    file.replaceSubrange(0..<6, with: [0x7f, 0x45, 0x4c, 0x46, 2, 1])
    put(machine, at: 18, in: &file)
    put(textAddress, at: 24, in: &file)
    put(UInt64(headers), at: 32, in: &file)
    put(UInt64(sectionHeaders), at: 40, in: &file)
    put(UInt16(56), at: 54, in: &file)
    put(UInt16(segments.count), at: 56, in: &file)
    put(UInt16(64), at: 58, in: &file)
    put(UInt16(5), at: 60, in: &file)
    put(UInt16(4), at: 62, in: &file)
    return file
  }

  private func sectionHeader(
    name: UInt32, type: UInt32, flags: UInt64, address: UInt64, offset: Int, size: Int, link: UInt32
  ) -> [UInt8] {
    littleEndian(name) + littleEndian(type) + littleEndian(flags) + littleEndian(address)
      + littleEndian(UInt64(offset)) + littleEndian(UInt64(size)) + littleEndian(link) + littleEndian(UInt32(0))
      + littleEndian(UInt64(0)) + littleEndian(UInt64(0))
  }

  /// The first page of a kernel: an arm64 header with the given image size, then zeroes.
  static func imageHeader(imageSize: UInt64, count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    put(imageSize, at: 16, in: &bytes)
    bytes.replaceSubrange(56..<60, with: Array("ARM\u{64}".utf8))
    return bytes
  }
}

// Words of instructions.
extension UInt32 {
  static let ret: UInt32 = 0xd65f_03c0
  static let subtract32: UInt32 = 0xd100_83ff
  static let subtract8192: UInt32 = 0xd140_0bff
  static let add32: UInt32 = 0x9100_83ff
  static let pushPair96: UInt32 = 0xa9ba_7bfd
  static let popPair96: UInt32 = 0xa8c6_7bfd
  static let callByX8: UInt32 = 0xd63f_0100

  static func call(_ words: Int) -> UInt32 { 0x9400_0000 | UInt32(bitPattern: Int32(words)) & 0x3ff_ffff }
  static func jump(_ words: Int) -> UInt32 { 0x1400_0000 | UInt32(bitPattern: Int32(words)) & 0x3ff_ffff }
}

func littleEndian<I: FixedWidthInteger>(_ value: I) -> [UInt8] {
  (0..<MemoryLayout<I>.size).map { UInt8(truncatingIfNeeded: value >> I(8 * $0)) }
}

func put<I: FixedWidthInteger>(_ value: I, at offset: Int, in bytes: inout [UInt8]) {
  bytes.replaceSubrange(offset..<offset + MemoryLayout<I>.size, with: littleEndian(value))
}
