// The instructions that go on elsewhere than at the next.

/// A branch: where it goes, and whether it comes back.
///
/// Source: Arm Architecture Reference Manual (DDI 0487), C4.1 "A64 instruction set encoding".
public enum Branch: Equatable, Sendable {
  /// BL to an instruction so many bytes away.
  case call(distance: Int)
  /// B, B.cond, CBZ, CBNZ, TBZ or TBNZ to an instruction so many bytes away.
  case jump(distance: Int)
  /// BLR.
  case callByRegister
  /// BR; a return is none.
  case jumpByRegister

  /// Decodes an A64 instruction; `nil` if it is no branch.
  public init?(decoding word: UInt32) {
    func distance(_ bits: UInt32, at position: UInt32) -> Int {
      Int(Int32(bitPattern: word << (32 - bits - position)) >> Int32(32 - bits)) * 4
    }
    if word & 0xfc00_0000 == 0x9400_0000 {
      self = .call(distance: distance(26, at: 0))
    } else if word & 0xfc00_0000 == 0x1400_0000 {
      self = .jump(distance: distance(26, at: 0))
    } else if word & 0xff00_0010 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000 {
      self = .jump(distance: distance(19, at: 5))
    } else if word & 0x7e00_0000 == 0x3600_0000 {
      self = .jump(distance: distance(14, at: 5))
    } else if word & 0xffff_fc1f == 0xd63f_0000 {
      self = .callByRegister
    } else if word & 0xffff_fc1f == 0xd61f_0000 {
      self = .jumpByRegister
    } else {
      return nil
    }
  }
}
