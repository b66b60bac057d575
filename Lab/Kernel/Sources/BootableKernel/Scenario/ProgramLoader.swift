// The EL0 program: an ELF file that the boot loader has put into memory as the initial RAM disk.
//
// Source: System V ABI, chapter 5 "Program Loading"; ELF for the Arm 64-bit Architecture.
#if hasFeature(Embedded)
  import AArch64Machine
  import DeviceTree
  import KernelProcesses
  import KernelStacks
  import Scenarios

  /// Why an ELF file cannot be run.
  enum ProgramError: Error, TextDescribable {
    case missing
    case notAProgram
    case writableCode(UInt)
    case damaged
    case tooManySegments

    func write<Sink: TextSink>(to sink: inout Sink) {
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

  /// The highest address of the program's stack: the end of the 2 MiB that the program lies in.
  private var programStackTop: UInt { 0x60_0000 }

  /// Describes the program in the initial RAM disk, in place.
  func loadProgram(_ file: BoardRange) throws(ProgramError) -> ProgramImage {
    guard file.byteCount >= 64 else { throw .missing }
    let bytes = UnsafeRawBufferPointer(
      start: AArch64().pointer(to: PhysicalAddress(file.start)), count: Int(file.byteCount))
    func half(_ offset: Int) -> Int { Int(bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self)) }
    func word(_ offset: Int) -> UInt32 { bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
    func long(_ offset: Int) -> UInt { bytes.loadUnaligned(fromByteOffset: offset, as: UInt.self) }

    // Magic, 64 bits, little endian; executable; arm64.
    guard word(0) == 0x464c_457f, half(4) == 0x0102, half(16) == 2, half(18) == 183 else { throw .notAProgram }
    let (table, entrySize, count) = (long(32), half(54), half(56))
    guard entrySize >= 56, table <= file.byteCount, UInt(count * entrySize) <= file.byteCount - table else {
      throw .damaged
    }
    var image = ProgramImage(
      entry: VirtualAddress(long(24)), stackTop: VirtualAddress(programStackTop), stackPageCount: 1)
    for index in 0..<count {
      let header = Int(table) + index * entrySize
      let (flags, offset, address) = (word(header + 4), long(header + 8), long(header + 16))
      let (fileSize, memorySize) = (long(header + 32), long(header + 40))
      guard word(header) == 1, memorySize > 0 else { continue }  // PT_LOAD
      guard offset <= file.byteCount, fileSize <= file.byteCount - offset, fileSize <= memorySize,
        memorySize < 1 << 32
      else { throw .damaged }
      guard flags & 3 != 3 else { throw .writableCode(address) }
      let segment = ProgramSegment(
        address: VirtualAddress(address),
        contents: UnsafeRawBufferPointer(rebasing: bytes[Int(offset)..<Int(offset + fileSize)]),
        byteCount: Int(memorySize),
        permissions: flags & 1 != 0 ? .userExecute : flags & 2 != 0 ? .userReadWrite : .userReadOnly)
      guard image.add(segment) else { throw .tooManySegments }
    }
    return image
  }
#endif
