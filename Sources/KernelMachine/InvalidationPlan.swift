// How an invalidation of a range is carried out: one instruction for each page or table, or one for everything.
//
//                                          the kernel's addresses   a process's
//   .leaves           one per page         VAALE1IS                 VALE1IS      last-level entries
//   .tablesAndLeaves  one per page         VAAE1IS                  VAE1IS       entries of all levels that translate the page
//   .tables           one per table        VAAE1IS                  VAE1IS       on an address below the table
//   more than 512     one                  VMALLE1IS                ASIDE1IS
//
// The last by address is enough because such an instruction drops *every* cached entry that would be used to translate the
// address, of whatever level, and the descriptor of a leaf table is used for each address of its 2 MiB, those above it
// for more. What it does not drop are the leaf entries of the other 511 pages: they have to be gone already.
//
// The kernel's entries are dropped whatever the ASID. Its last-level entries are global and bear none; but an entry that
// points to a table has no such bit, and a CPU that caches one tags it with the ASID that is current, a process's
// (see TLBInstruction).
//
// The bound. Counted in instructions, everything is always cheaper. What speaks against it are the refills: all that
// the CPUs had cached, of the user's translations too, up to about a thousand entries each on a Cortex-A72, at some 20
// to 30 cycles for a walk that hits the second-level cache, against some tens of cycles for one broadcast instruction.
// That puts the balance at several hundred pages. It is an estimate from these figures: an emulator cannot measure it,
// because there everything costs no more than one page does, and a refill is a function call. Linux draws the line at
// the same 512 operations (MAX_DVM_OPS in arch/arm64/include/asm/tlbflush.h).
//
// Source: Arm Architecture Reference Manual (DDI 0487), C5.5 "TLBI VAE1IS", "TLBI VAAE1IS", D8.17 "TLB maintenance".

/// The instructions that an invalidation of a range takes.
public struct InvalidationPlan: Equatable, Sendable {
  /// The instruction that is issued; one that drops more does as well.
  public var instruction: TLBInstruction
  /// The first page that is named.
  public let firstPage: VirtualAddress
  /// How many pages lie between one that is named and the next: 1 or 512.
  public let operandStep: Int
  /// How many instructions there are; 1 if everything is dropped.
  public let instructionCount: Int
  /// The operand of the first instruction; that of each further one is larger by ``operandStep`` pages.
  public let operand: UInt64

  /// Whether the whole space is dropped.
  public var dropsEverything: Bool { !instruction.namesAddress }

  /// The most instructions by address that are issued before everything is dropped instead.
  public static var largestCountByAddress: Int { 512 }

  /// The cheapest way to drop what an invalidation asks for.
  @inline(__always)
  public init(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
    let shift: UInt = scope == .tables ? 21 : 12
    let first = pages.lowerBound.rawValue & ~(1 &<< shift &- 1)
    // Unsigned, and rounded up without an overflow: `everything` reaches to the last address.
    let distance = pages.upperBound.rawValue &- first
    let count = distance == 0 ? 0 : ((distance &- 1) &>> shift) &+ 1
    firstPage = VirtualAddress(first)
    operandStep = 1 &<< Int(bitPattern: shift &- 12)
    if count > UInt(bitPattern: Self.largestCountByAddress) {
      instruction = space == .kernel ? .vmalle1is : .aside1is
      instructionCount = 1
      operand = TLBInstruction.operand(space)
    } else {
      if space == .kernel {
        instruction = scope == .leaves ? .vaale1is : .vaae1is
      } else {
        instruction = scope == .leaves ? .vale1is : .vae1is
      }
      instructionCount = Int(bitPattern: count)
      operand = TLBInstruction.operand(space, page: firstPage)
    }
  }
}
