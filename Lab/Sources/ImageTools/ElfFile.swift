// An ELF64 file for little-endian AArch64: its segments, sections and symbols.

/// The reason why a file cannot be read as an ELF64 file for AArch64.
public enum ElfError: Error, Equatable, CustomStringConvertible {
  /// The file is of another kind, given in the text.
  case unsupported(String)
  /// A table or a string lies outside the file.
  case truncated(what: String, neededBytes: Int, availableBytes: Int)
  /// The file cannot be laid out as a flat image.
  case notAnImage(String)

  /// The error in one line.
  public var description: String {
    switch self {
    case .unsupported(let reason): "not an ELF64 file for AArch64: \(reason)"
    case .truncated(let what, let needed, let available):
      "ELF file cut short: \(what) ends at byte \(needed), the file has \(available)"
    case .notAnImage(let reason): "no flat image can be made: \(reason)"
    }
  }
}

/// The parts of an ELF64 file that the tools need.
///
/// Source: "Tool Interface Standard ELF Specification" and "ELF for the Arm 64-bit Architecture".
public struct ElfFile: Sendable {
  /// A program header: a segment and where it is loaded.
  public struct Segment: Equatable, Sendable {
    /// 1 for PT_LOAD.
    public var type: UInt32
    /// PF_X = 1, PF_W = 2, PF_R = 4.
    public var flags: UInt32
    /// The offset of the contents in the file, in bytes.
    public var fileOffset: Int
    /// The address that the segment is linked to run at.
    public var virtualAddress: UInt64
    /// The address that the segment is loaded at.
    public var physicalAddress: UInt64
    /// The number of bytes that the file supplies.
    public var fileByteCount: Int
    /// The size of the segment in memory, in bytes; bytes that the file does not supply are zero.
    public var memoryByteCount: Int

    /// Whether the segment is loaded.
    public var isLoadable: Bool { type == 1 }
  }

  /// A section header.
  public struct Section: Equatable, Sendable {
    /// The section's name.
    public var name: String
    /// SHT_PROGBITS = 1, SHT_SYMTAB = 2, SHT_STRTAB = 3, SHT_NOBITS = 8.
    public var type: UInt32
    /// SHF_WRITE = 1, SHF_ALLOC = 2, SHF_EXECINSTR = 4.
    public var flags: UInt64
    /// The address that the section is linked to run at.
    public var address: UInt64
    /// The offset of the contents in the file, in bytes.
    public var fileOffset: Int
    /// The length in bytes.
    public var byteCount: Int
    /// The index of another section that belongs to this one.
    public var link: Int

    /// Whether the section holds instructions that are in the file.
    public var isCode: Bool { type == 1 && flags & 4 != 0 }
  }

  /// A symbol.
  public struct Symbol: Equatable, Sendable {
    /// The symbol's name, mangled.
    public var name: String
    /// The symbol's value; for a function its address.
    public var address: UInt64
    /// The length in bytes, or 0 if unknown.
    public var byteCount: Int
    /// STT_NOTYPE = 0, STT_OBJECT = 1, STT_FUNC = 2.
    public var type: UInt8
    /// The index of its section; 0 if it is undefined.
    public var sectionIndex: Int
  }

  /// The whole file.
  public let bytes: [UInt8]
  /// The address at which execution starts.
  public let entry: UInt64
  /// The program headers in the file's order.
  public let segments: [Segment]
  /// The section headers in the file's order.
  public let sections: [Section]
  /// The symbols of the symbol table, if there is one.
  public let symbols: [Symbol]

  /// Parses a file.
  public init(_ bytes: [UInt8]) throws(ElfError) {
    let reader = ElfReader(bytes: bytes)
    guard bytes.count >= 4, bytes[0...3].elementsEqual([0x7f, 0x45, 0x4c, 0x46]) else {
      throw .unsupported("it does not begin with \\x7fELF")
    }
    try reader.check("the file header", offset: 0, count: 64)
    guard bytes[4] == 2 else { throw .unsupported("it is of class \(bytes[4]), not 2 (64 bits)") }
    guard bytes[5] == 1 else { throw .unsupported("it is not little-endian") }
    let machine = try reader.uint16(at: 18)
    guard machine == 183 else { throw .unsupported("its machine is \(machine), not 183 (AArch64)") }

    self.bytes = bytes
    entry = try reader.uint64(at: 24)
    segments = try reader.segments()
    sections = try reader.sections()
    symbols = try reader.symbols(in: sections)
  }

  /// The contents of a section; empty for one that has none in the file.
  public func contents(of section: Section) -> ArraySlice<UInt8> {
    section.type == 8 ? [] : bytes[section.fileOffset..<section.fileOffset + section.byteCount]
  }

  /// The contents of a segment, without the bytes that are zero in memory only.
  public func contents(of segment: Segment) -> ArraySlice<UInt8> {
    bytes[segment.fileOffset..<segment.fileOffset + segment.fileByteCount]
  }
}
