// The TLB invalidation instructions that reach all CPUs, what each drops, and the operand that says what.
//
//   63      48 47  44 43                       0
//  +----------+------+--------------------------+
//  |   ASID   |  0   |        VA[55:12]         |
//  +----------+------+--------------------------+
//
// What a cached entry is tagged with:
//
//   last level, global (nG = 0)      no ASID: it matches every one
//   last level, non-global           the ASID that was current when the tables were walked
//   above the last level             the same, in the kernel's half too: a table descriptor has no bit that says "global"
//
// The current ASID is TTBR0_EL1's (TCR_EL1.A1 = 0). So one entry of the kernel's upper tables may lie in the walk caches under
// the ASID of every process that has run since it became valid, and an instruction that names ASID 0 leaves all these.
//
// Source: Arm Architecture Reference Manual (DDI 0487), C5.5 "A64 System instructions for TLB maintenance", D8.16.3 "Global
// and process-specific translation table entries".

/// A TLB invalidation instruction of EL1 that is broadcast to the inner shareable domain.
public enum TLBInstruction: UInt8, Equatable, Sendable {
  /// Everything.
  case vmalle1is
  /// All entries of an ASID, of all levels; global ones stay.
  case aside1is
  /// Entries that translate an address: global ones of the last level, others if they bear the ASID.
  case vae1is
  /// As ``vae1is``, of the last level only.
  case vale1is
  /// Entries that translate an address, whatever their ASID.
  case vaae1is
  /// As ``vaae1is``, of the last level only.
  case vaale1is

  /// Whether the operand names an address.
  public var namesAddress: Bool { self != .vmalle1is && self != .aside1is }

  /// Whether entries that bear another ASID than the operand's stay.
  public var namesASID: Bool { self == .aside1is || self == .vae1is || self == .vale1is }

  /// Whether entries above the last level stay.
  public var isLastLevelOnly: Bool { self == .vale1is || self == .vaale1is }

  /// The operand that names all translations of an address space.
  public static func operand(_ space: AddressSpaceID) -> UInt64 { UInt64(space.rawValue) &<< 48 }

  /// The operand that names one page of an address space; that of the page above it is 1 more.
  public static func operand(_ space: AddressSpaceID, page: VirtualAddress) -> UInt64 {
    operand(space) | UInt64((page.rawValue &>> 12) & 0xfff_ffff_ffff)
  }
}
