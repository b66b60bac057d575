// The flat image of a linked kernel, which an arm64 boot loader copies into memory.
//
// The first 64 bytes of the image are its header, which the linker has placed there:
//
//    0         8             16           24      32                  56          60
//   +---------+-------------+------------+-------+-------------------+-----------+------+
//   | 2 instr.| text offset | image size | flags |         0         | "ARM\x64" |  0   |
//   +---------+-------------+------------+-------+-------------------+-----------+------+
//
// Source: Linux, Documentation/arm64/booting.rst, "Call the kernel image".

/// A kernel in the form for a boot loader: the bytes from its lowest physical address on.
public struct FlatImage: Sendable {
  /// The image, header included.
  ///
  /// It leaves out the zeroed memory at its end.
  public let bytes: [UInt8]
  /// The physical address that the image was linked to be loaded at.
  public let physicalAddress: UInt64
  /// The memory that the kernel occupies, zeroed memory included, in bytes.
  public let memoryByteCount: Int

  /// Lays out the loadable segments of an ELF file by their physical addresses.
  public init(_ file: ElfFile) throws(ElfError) {
    let loaded = file.segments
      .filter { $0.isLoadable && $0.memoryByteCount > 0 }
      .sorted { $0.physicalAddress < $1.physicalAddress }
    guard let first = loaded.first else { throw .notAnImage("the file has no loadable segment") }
    let base = first.physicalAddress
    var image: [UInt8] = []
    var occupied = 0
    for segment in loaded {
      guard segment.fileByteCount <= segment.memoryByteCount else {
        throw .notAnImage("the segment at \(hexadecimal(segment.physicalAddress)) has more bytes than memory")
      }
      let distance = segment.physicalAddress - base
      guard distance < 1 << 28, segment.memoryByteCount < 1 << 28 else {
        throw .notAnImage(
          "the segment at \(hexadecimal(segment.physicalAddress)) is over 256 MiB from the first")
      }
      let offset = Int(distance)
      guard offset >= occupied else {
        throw .notAnImage("the segment at \(hexadecimal(segment.physicalAddress)) overlaps the one before it")
      }
      occupied = offset + segment.memoryByteCount
      if segment.fileByteCount > 0 {
        image.append(contentsOf: repeatElement(0, count: offset - image.count))
        image.append(contentsOf: file.contents(of: segment))
      }
    }
    guard image.count >= 64, image[56..<60].elementsEqual([0x41, 0x52, 0x4d, 0x64]) else {
      throw .notAnImage("the arm64 header's magic ARM\\x64 is missing at byte 56")
    }
    let declared = (16..<24).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64(image[$1]) }
    guard declared >= UInt64(occupied) else {
      throw .notAnImage("the header's image size is \(declared) bytes, the kernel occupies \(occupied)")
    }
    bytes = image
    physicalAddress = base
    memoryByteCount = occupied
  }
}

func hexadecimal(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
