// An EL0 program in an ELF file, which is not trusted: every access is checked against the file's bounds.
//
// Source: System V ABI, chapter 5 "Program Loading"; ELF for the Arm 64-bit Architecture.

import KernelStacks

/// The reason why an ELF file cannot be run.
public enum ProgramFileError: Error, Equatable, TextDescribable {
  /// The file is shorter than a header.
  case missing
  /// It is no 64-bit arm64 executable.
  case notAProgram
  /// The segment at this address could be written and executed.
  case writableCode(UInt)
  /// The program headers or a segment reach beyond the file, or a segment is larger than 4 GiB.
  case damaged
  /// It has more segments than a ``ProgramImage`` can hold.
  case tooManySegments

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .missing: sink.write("there is none: give it as the initial RAM disk")
    case .notAProgram: sink.write("the initial RAM disk is no arm64 ELF program")
    case .writableCode(let address):
      sink.write("the segment at ")
      sink.write(hex: address)
      sink.write(" is both writable and executable")
    case .damaged: sink.write("a segment reaches beyond the file")
    case .tooManySegments: sink.write("it has more segments than fit")
    }
  }
}

extension ProgramImage {
  /// The first address above the stack of a program from a file: the end of the 2 MiB that the program should lie in.
  public static var fileStackTop: VirtualAddress { VirtualAddress(0x60_0000) }

  /// Makes the image of an ELF file, whose segments stay in the file's bytes.
  ///
  /// The addresses of segments are checked when they are loaded.
  ///
  /// - Parameter file: the bytes of the file.
  /// - Throws: the fault of the file.
  /// - Complexity: O(number of program headers), at most 65,535.
  public init(file: UnsafeRawBufferPointer) throws(ProgramFileError) {
    guard file.count >= 64 else { throw .missing }
    func half(_ offset: Int) -> Int { Int(file.loadUnaligned(fromByteOffset: offset, as: UInt16.self)) }
    func word(_ offset: Int) -> UInt32 { file.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
    func long(_ offset: Int) -> UInt { file.loadUnaligned(fromByteOffset: offset, as: UInt.self) }
    let byteCount = UInt(file.count)

    // Magic, 64 bits, little endian; executable; arm64.
    guard word(0) == 0x464c_457f, half(4) == 0x0102, half(16) == 2, half(18) == 183 else { throw .notAProgram }
    let (table, entrySize, count) = (long(32), half(54), half(56))
    guard entrySize >= 56, table <= byteCount, UInt(count * entrySize) <= byteCount - table else {
      throw .damaged
    }
    self.init(entry: VirtualAddress(long(24)), stackTop: Self.fileStackTop, stackPageCount: 1)
    for index in 0..<count {
      let header = Int(table) + index * entrySize
      let (flags, offset, address) = (word(header + 4), long(header + 8), long(header + 16))
      let (fileSize, memorySize) = (long(header + 32), long(header + 40))
      guard word(header) == 1, memorySize > 0 else { continue }  // PT_LOAD
      guard offset <= byteCount, fileSize <= byteCount - offset, fileSize <= memorySize, memorySize < 1 << 32
      else { throw .damaged }
      guard flags & 3 != 3 else { throw .writableCode(address) }
      let segment = ProgramSegment(
        address: VirtualAddress(address),
        contents: UnsafeRawBufferPointer(rebasing: file[Int(offset)..<Int(offset + fileSize)]),
        byteCount: Int(memorySize),
        permissions: flags & 1 != 0 ? .userExecute : flags & 2 != 0 ? .userReadWrite : .userReadOnly)
      guard add(segment) else { throw .tooManySegments }
    }
  }
}
