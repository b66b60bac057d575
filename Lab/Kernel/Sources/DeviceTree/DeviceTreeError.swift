// The errors of a device tree.

import KernelMachine

/// The reason why a device tree is refused.
public enum DeviceTreeError: Error, Equatable, TextDescribable {
  /// There is no readable memory at the address, or no magic number.
  case missing
  /// It overlaps the kernel's image: one of the two has overwritten the other.
  case overlapsImage
  /// The tree is not compatible with version 16.
  case unsupportedVersion(UInt32)
  /// The size in the header is smaller than a header, larger than the limit, or larger than the memory given.
  case wrongSize(UInt32)
  /// A block of the tree begins outside it.
  case blockOutside(offset: UInt32)
  /// No complete token, name, value or reservation is at this byte of the tree.
  case damaged(offset: Int)
  /// A node ends that has not begun, or the tree ends before its root.
  case unbalanced(offset: Int)
  /// Nodes nest deeper than ``FlattenedDeviceTree/maximumDepth``.
  case tooDeep(offset: Int)
  /// A node gives the addresses or sizes of its children this many cells.
  case cellCount(UInt)

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .missing:
      sink.write("there is none at the address that the boot loader gave")
    case .overlapsImage:
      sink.write("it overlaps the kernel's image")
    case .unsupportedVersion(let version):
      sink.write("version ")
      sink.write(UInt(version))
      sink.write(" cannot be read as version 16")
    case .wrongSize(let byteCount):
      sink.write("it cannot be ")
      sink.write(UInt(byteCount))
      sink.write(" bytes long, as it says")
    case .blockOutside(let offset):
      sink.write("it says that it has a block at byte ")
      sink.write(UInt(offset))
      sink.write(", which is outside")
    case .damaged(let offset):
      sink.write("it is damaged at byte ")
      sink.write(offset)
    case .unbalanced(let offset):
      sink.write("beginnings and ends of nodes do not match at byte ")
      sink.write(offset)
    case .tooDeep(let offset):
      sink.write("more than ")
      sink.write(FlattenedDeviceTree.maximumDepth)
      sink.write(" nodes lie within each other at byte ")
      sink.write(offset)
    case .cellCount(let count):
      sink.write("addresses or sizes of ")
      sink.write(count)
      sink.write(" cells are not understood")
    }
  }
}
