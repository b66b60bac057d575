// The access flag, which the CPU sets in a last-level entry by itself (FEAT_HAFDBS, TCR_EL1.HA): whether a page was touched.
//
// Two promises of the architecture carry all that is built on it here:
//
//   - An entry whose flag is 0 is in no TLB: a CPU sets the flag before it uses the translation, or caches it (R_XFXTY,
//     I_RGQLZ).
//   - It sets the flag in one atomic step, and only in the entry that it has read; if that has changed by then, it walks
//     anew (R_LFTXR, J1.1 AArch64.MemSwapTableDesc).
//
// So an untouched entry may become invalid without an invalidation, if it does so in one atomic step of its own,
// ``AccessFlagMachine/replaceEntry(_:with:at:)``. A look followed by a store is not enough: a CPU may touch the page in
// between. And an entry may be written with the flag 0 only where no CPU can have cached an older translation of the same
// address.
//
// A CPU may set the flag without any access of the program, speculatively (R_LHQRX).
//
// Source: Arm Architecture Reference Manual (DDI 0487 M.a), D8.5 "Hardware updates to the translation tables".

extension PageTableEntry {
  static var accessFlag: UInt64 { 1 &<< 10 }

  /// Whether a CPU may have cached the entry: its access flag is set.
  public var isAccessed: Bool { rawValue & Self.accessFlag != 0 }

  /// The same leaf entry, untouched: without the access flag, which a CPU sets before it uses the entry.
  public var untouched: Self { Self(rawValue: rawValue & ~Self.accessFlag) }

  /// The same leaf entry with the access flag set.
  public var accessed: Self { Self(rawValue: rawValue | Self.accessFlag) }

  /// Whether the entry maps a single page of last-level tables, without the contiguous bit (52): only then an access through
  /// it must set this entry's flag (R_GPHKF).
  public var isSinglePage: Bool { rawValue & 0x0010_0000_0000_0003 == 3 }
}

/// A machine whose CPUs can set the access flag by themselves, and that replaces an entry in one atomic step.
///
/// Stacks whose pages are lent need it (`StackLender`); all else does without.
public protocol AccessFlagMachine: Machine {
  /// Whether all CPUs set the access flag of an entry before they use it; where one does not, an access through an
  /// untouched entry faults.
  ///
  /// It never changes.
  var updatesAccessFlags: Bool { get }

  /// Replaces an untouched entry, unless a CPU has touched the page: one compare-and-swap of all 64 bits (FEAT_LSE, CAS).
  ///
  /// The entry is `expected`, or what updates by CPUs have made of it. These come before the replacement or after it, never in
  /// between.
  ///
  /// - Returns: whether it was replaced. The new value then is as visible as after ``Machine/writeEntry(_:at:)``.
  func replaceEntry(_ expected: PageTableEntry, with entry: PageTableEntry, at address: PhysicalAddress) -> Bool

  /// Replaces an entry by its address in the linear map, as ``replaceEntry(_:with:at:)`` does; a machine need not have its
  /// own.
  func replaceEntry(
    _ expected: PageTableEntry, with entry: PageTableEntry, atLinear address: VirtualAddress
  ) -> Bool
}

extension AccessFlagMachine {
  /// Replaces an entry by its physical address.
  @inline(__always) public func replaceEntry(
    _ expected: PageTableEntry, with entry: PageTableEntry, atLinear address: VirtualAddress
  ) -> Bool {
    replaceEntry(expected, with: entry, at: PhysicalAddress(address.rawValue &- linearMapOffset))
  }
}
