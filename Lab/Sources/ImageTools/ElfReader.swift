// Reads the tables of an ELF64 file; every offset is checked against the length of the file.

struct ElfReader {
  let bytes: [UInt8]

  func check(_ what: String, offset: Int, count: Int) throws(ElfError) {
    let (end, overflow) = offset.addingReportingOverflow(count)
    guard offset >= 0, count >= 0, !overflow, end <= bytes.count else {
      throw .truncated(what: what, neededBytes: overflow ? Int.max : end, availableBytes: bytes.count)
    }
  }

  private func integer<I: FixedWidthInteger>(at offset: Int, as: I.Type) throws(ElfError) -> I {
    try check("a number", offset: offset, count: MemoryLayout<I>.size)
    var value: I = 0
    for index in 0..<MemoryLayout<I>.size { value |= I(bytes[offset + index]) << I(8 * index) }
    return value
  }

  func uint16(at offset: Int) throws(ElfError) -> UInt16 { try integer(at: offset, as: UInt16.self) }
  func uint32(at offset: Int) throws(ElfError) -> UInt32 { try integer(at: offset, as: UInt32.self) }
  func uint64(at offset: Int) throws(ElfError) -> UInt64 { try integer(at: offset, as: UInt64.self) }

  /// A 64-bit size or offset; a value above `Int.max` is an error.
  func length(at offset: Int) throws(ElfError) -> Int {
    let value = try uint64(at: offset)
    guard let length = Int(exactly: value) else {
      throw .truncated(what: "a length", neededBytes: Int.max, availableBytes: bytes.count)
    }
    return length
  }

  func string(inTableAt table: ElfFile.Section, index: Int) throws(ElfError) -> String {
    let end = table.fileOffset + table.byteCount
    let start = table.fileOffset + index
    guard start < end, let terminator = bytes[start..<end].firstIndex(of: 0) else {
      throw .truncated(what: "a name in \(table.name)", neededBytes: start + 1, availableBytes: end)
    }
    return String(decoding: bytes[start..<terminator], as: UTF8.self)
  }

  func segments() throws(ElfError) -> [ElfFile.Segment] {
    let table = try length(at: 32)
    let stride = Int(try uint16(at: 54))
    let count = Int(try uint16(at: 56))
    var segments: [ElfFile.Segment] = []
    for index in 0..<count {
      let at = table + index * stride
      try check("program header \(index)", offset: at, count: 56)
      let segment = ElfFile.Segment(
        type: try uint32(at: at), flags: try uint32(at: at + 4), fileOffset: try length(at: at + 8),
        virtualAddress: try uint64(at: at + 16), physicalAddress: try uint64(at: at + 24),
        fileByteCount: try length(at: at + 32), memoryByteCount: try length(at: at + 40))
      try check("segment \(index)", offset: segment.fileOffset, count: segment.fileByteCount)
      segments.append(segment)
    }
    return segments
  }

  func sections() throws(ElfError) -> [ElfFile.Section] {
    let table = try length(at: 40)
    let stride = Int(try uint16(at: 58))
    let count = Int(try uint16(at: 60))
    let namesIndex = Int(try uint16(at: 62))
    var sections: [ElfFile.Section] = []
    var nameOffsets: [Int] = []
    for index in 0..<count {
      let at = table + index * stride
      try check("section header \(index)", offset: at, count: 64)
      let section = ElfFile.Section(
        name: "", type: try uint32(at: at + 4), flags: try uint64(at: at + 8), address: try uint64(at: at + 16),
        fileOffset: try length(at: at + 24), byteCount: try length(at: at + 32),
        link: Int(try uint32(at: at + 40)))
      if section.type != 8 {
        try check("section \(index)", offset: section.fileOffset, count: section.byteCount)
      }
      sections.append(section)
      nameOffsets.append(Int(try uint32(at: at)))
    }
    if sections.indices.contains(namesIndex), sections[namesIndex].type == 3 {
      let names = sections[namesIndex]
      for index in sections.indices {
        sections[index].name = try string(inTableAt: names, index: nameOffsets[index])
      }
    }
    return sections
  }

  func symbols(in sections: [ElfFile.Section]) throws(ElfError) -> [ElfFile.Symbol] {
    guard let table = sections.first(where: { $0.type == 2 }) else { return [] }
    guard sections.indices.contains(table.link), sections[table.link].type == 3 else {
      throw .unsupported("its symbol table has no names")
    }
    let names = sections[table.link]
    var symbols: [ElfFile.Symbol] = []
    for index in 0..<table.byteCount / 24 {
      let at = table.fileOffset + index * 24
      symbols.append(
        ElfFile.Symbol(
          name: try string(inTableAt: names, index: Int(try uint32(at: at))), address: try uint64(at: at + 8),
          byteCount: try length(at: at + 16), type: bytes[at + 4] & 15,
          sectionIndex: Int(try uint16(at: at + 6))))
    }
    return symbols
  }
}
