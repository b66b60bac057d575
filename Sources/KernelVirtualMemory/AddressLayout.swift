// The layout of the kernel's address space, for 39-bit and for 48-bit virtual addresses.
//
//   39 bits                                           48 bits
//   ffffffff c0000000 +----------------------+        ffffff80 08000000 +----------------------+
//                     | linear map           |                          | kernel image 128 MiB |
//                     | 255 GiB              |        ffffff80 00000000 +----------------------+
//   ffffffc0 00000000 +----------------------+                          | linear map           |
//                     | unused 16 GiB        |                          | 127.5 TiB            |
//   ffffffbc 00000000 +----------------------+        ffff8000 00000000 +----------------------+
//                     | vmalloc area         |                          | unused 4 TiB         |
//                     | 239.9 GiB            |        ffff7c00 00000000 +----------------------+
//   ffffff80 08000000 +----------------------+                          | vmalloc area         |
//                     | kernel image 128 MiB |                          | 124 TiB              |
//   ffffff80 00000000 +----------------------+        ffff0000 08000000 +----------------------+
//                     : not translated       :                          | unused 128 MiB       |
//   00000080 00000000 +----------------------+        ffff0000 00000000 +----------------------+
//                     | user space 512 GiB   |                          : not translated       :
//   00000000 00000000 +----------------------+        00010000 00000000 +----------------------+
//                                                                       | user space 256 TiB   |
//                                                     00000000 00000000 +----------------------+
//
// The top GiB of the 39-bit linear map stays unused so that no bound wraps around. The kernel image is linked at one
// address and runs with either layout.

import KernelMachine

/// The translation granule, in bytes; only 4 KiB is supported.
public enum TranslationGranule: Int, Equatable, Sendable {
  /// 4 KiB pages.
  case fourKiB = 4096
  /// 16 KiB pages: refused, since a stack fits one page there, and a one-page request never fails for fragmentation.
  case sixteenKiB = 16384
  /// 64 KiB pages: refused, for the same reason.
  case sixtyFourKiB = 65536
}

/// The reason why an address layout was refused.
public enum AddressLayoutError: Error, Equatable, TextDescribable {
  /// Only 4 KiB pages are supported.
  case unsupportedGranule(TranslationGranule)
  /// Only 39 and 48 bits are supported.
  case unsupportedAddressBits(Int)

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .unsupportedGranule(let granule):
      sink.write("pages of ")
      sink.write(byteCount: granule.rawValue)
      sink.write(" are not supported: a kernel stack would fit one page; only 4 KiB pages are")
    case .unsupportedAddressBits(let bits):
      sink.write("virtual addresses of ")
      sink.write(bits)
      sink.write(" bits are not supported: only 39 and 48 are")
    }
  }
}

/// The parts of the address space.
public struct AddressLayout: Equatable, Sendable {
  /// The number of address bits that are translated: 39 or 48.
  public let virtualAddressBits: Int
  /// The addresses that EL0 may use.
  public let userSpace: VirtualAddressRange
  /// The addresses of the kernel image: 128 MiB.
  public let kernelImage: VirtualAddressRange
  /// The addresses that ``VmallocArea`` hands out.
  public let vmallocArea: VirtualAddressRange
  /// The addresses at which all of RAM is mapped, physical address 0 at the lower bound.
  public let linearMap: VirtualAddressRange

  /// The layout for a number of address bits.
  ///
  /// - Parameters:
  ///   - virtualAddressBits: 39 or 48.
  ///   - granule: ``TranslationGranule/fourKiB``.
  /// - Throws: ``AddressLayoutError`` for anything else.
  public init(virtualAddressBits: Int = 39, granule: TranslationGranule = .fourKiB) throws(AddressLayoutError) {
    guard granule == .fourKiB else { throw .unsupportedGranule(granule) }
    func range(_ lower: UInt, _ upper: UInt) -> VirtualAddressRange {
      VirtualAddressRange(VirtualAddress(lower), VirtualAddress(upper))
    }
    switch virtualAddressBits {
    case 39:
      vmallocArea = range(0xffff_ff80_0800_0000, 0xffff_ffbc_0000_0000)
      linearMap = range(0xffff_ffc0_0000_0000, 0xffff_ffff_c000_0000)
    case 48:
      vmallocArea = range(0xffff_0000_0800_0000, 0xffff_7c00_0000_0000)
      linearMap = range(0xffff_8000_0000_0000, 0xffff_ff80_0000_0000)
    default:
      throw .unsupportedAddressBits(virtualAddressBits)
    }
    self.virtualAddressBits = virtualAddressBits
    kernelImage = range(0xffff_ff80_0000_0000, 0xffff_ff80_0800_0000)
    userSpace = range(0, 1 << UInt(virtualAddressBits))
  }

  /// The offset of an address in the linear map from its physical address.
  public var linearMapOffset: UInt { linearMap.lowerBound.rawValue }

  /// The level of the root translation table: 1 for 39 bits, 0 for 48.
  public var rootLevel: Int { virtualAddressBits == 48 ? 0 : 1 }
}
