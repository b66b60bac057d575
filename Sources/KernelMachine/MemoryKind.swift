// Kinds of memory, and where a machine's MAIR_EL1 has them: bits 4:2 of a leaf entry are an index into that register.
//
// Source: Arm Architecture Reference Manual (DDI 0487), MAIR_EL1.

/// What kind of memory a page is.
public enum MemoryKind: Equatable, Sendable {
  /// Normal memory, write-back cacheable, inner shareable: attribute 0xff.
  case normal
  /// Device-nGnRE: attribute 0x04.
  case device
}

/// The indices at which MAIR_EL1 has each kind of memory: 0…7.
public struct MemoryAttributeIndices: Equatable, Sendable {
  /// The index of normal memory.
  public let normal: UInt64
  /// The index of device memory.
  public let device: UInt64

  /// The indices of a machine whose boot code has chosen them.
  public init(normal: UInt64, device: UInt64) {
    self.normal = normal
    self.device = device
  }

  /// Normal memory at index 0, device memory at 1.
  public static var standard: Self { Self(normal: 0, device: 1) }

  /// The index of a kind.
  public subscript(_ kind: MemoryKind) -> UInt64 { kind == .normal ? normal : device }
}
