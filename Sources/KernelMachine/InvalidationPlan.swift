// How an invalidation of a range is carried out: one instruction for each page or table, or one for everything.
//
//   .leaves           one per page               VALE1IS: last-level entries
//   .tablesAndLeaves  one per page               VAE1IS: entries of all levels that translate the page
//   .tables           one per table's 2 MiB      VAE1IS on an address below the table
//
// The last is enough because an instruction by address drops *every* cached entry that would be used to translate that
// address, of whatever level, and the descriptor of a leaf table is used for each address of its 2 MiB, those above it
// for more. What it does not drop are the leaf entries of the other 511 pages: they have to be gone already.
//
// The bound. Counted in instructions, everything is always cheaper. What speaks against it are the refills: all that
// the CPUs had cached, of the user's translations too, up to about a thousand entries each on a Cortex-A72, at some 20
// to 30 cycles for a walk that hits the second-level cache, against some tens of cycles for one broadcast instruction.
// That puts the balance at several hundred pages. It is an estimate from these figures: an emulator cannot measure it,
// because there everything costs no more than one page does, and a refill is a function call. Linux draws the line at
// the same 512 operations (MAX_DVM_OPS in arch/arm64/include/asm/tlbflush.h).
//
// Source: Arm Architecture Reference Manual (DDI 0487), C5.5 "TLBI VAE1IS", D8.14 "TLB maintenance".

/// The instructions that an invalidation of a range takes.
@frozen public struct InvalidationPlan: Equatable, Sendable {
  /// The first page that is named.
  public let firstPage: VirtualAddress
  /// How many pages lie between one that is named and the next: 1 or 512.
  public let stride: Int
  /// How many instructions there are; 1 if everything is dropped.
  public let instructionCount: Int
  /// Whether the whole space is dropped.
  public let dropsEverything: Bool

  /// The most instructions by address that are issued before everything is dropped instead.
  @inlinable public static var largestCountByAddress: Int { 512 }

  /// The cheapest way to drop what an invalidation asks for.
  @inlinable public init(_ pages: VirtualAddressRange, scope: InvalidationScope) {
    let shift: UInt = scope == .tables ? 21 : 12
    let first = pages.lowerBound.rawValue & ~(1 &<< shift &- 1)
    // Unsigned, and rounded up without an overflow: `everything` reaches to the last address.
    let distance = pages.upperBound.rawValue &- first
    let count = distance == 0 ? 0 : ((distance &- 1) &>> shift) &+ 1
    firstPage = VirtualAddress(first)
    stride = 1 &<< Int(bitPattern: shift &- 12)
    dropsEverything = count > UInt(bitPattern: Self.largestCountByAddress)
    instructionCount = dropsEverything ? 1 : Int(bitPattern: count)
  }
}
