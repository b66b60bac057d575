// A GICv3: private interrupts (PPIs) and those that CPUs send each other (SGIs), as non-secure group 1.
//
//   distributor       for all CPUs
//   redistributors    | CPU: 64 KiB registers, 64 KiB its SGIs and PPIs | CPU … |     GICR_TYPER: affinity, last
//   CPU interface     system registers ICC_*, which are GICC_* of a GICv2
//
// Source: Arm Generic Interrupt Controller Architecture Specification, GIC architecture version 3 and 4, IHI 0069.
import CAArch64
import DeviceTree

/// A GICv3.
struct GICv3: InterruptController {
  /// The virtual addresses of the distributor and of the first redistributor.
  let distributor: UInt
  let redistributors: UInt
  /// The bytes of all redistributors.
  let redistributorBytes: UInt

  private static var frameBytes: UInt { 0x1_0000 }

  func start() {
    ca_store32(distributor + 0x000, 0)  // GICD_CTLR
    awaitWrites(distributor, bit: 31)
    let words = UInt(ca_load32(distributor + 0x004) & 31) + 1  // GICD_TYPER.ITLinesNumber
    for word in 1..<max(words, 2) { quieten(distributor, word) }
    ca_store32(distributor + 0x000, 1 << 4 | 1 << 1)  // ARE_NS, EnableGrp1A
    awaitWrites(distributor, bit: 31)
  }

  // The registers of 32 interrupts lie alike in the distributor and in the second frame of a redistributor.
  private func quieten(_ base: UInt, _ word: UInt) {
    ca_store32(base + 0x080 + word * 4, .max)  // GICD_IGROUPR: group 1
    ca_store32(base + 0x180 + word * 4, .max)  // GICD_ICENABLER
    ca_store32(base + 0x280 + word * 4, .max)  // GICD_ICPENDR
    ca_store32(base + 0x380 + word * 4, .max)  // GICD_ICACTIVER
  }

  // RWP: a write to the register is not yet in effect.
  private func awaitWrites(_ base: UInt, bit: UInt32) {
    while ca_load32(base) & 1 << bit != 0 { ca_yield() }
  }

  /// The redistributor of the current CPU, found by its affinity.
  private var ownRedistributor: UInt? {
    let affinity = Self.packed(ca_read_mpidr_el1())
    var offset: UInt = 0
    while offset + 2 * Self.frameBytes <= redistributorBytes {
      let type = ca_load32(redistributors + offset + 0x008)  // GICR_TYPER, low half
      if ca_load32(redistributors + offset + 0x00c) == affinity { return redistributors + offset }
      if type & 1 << 4 != 0 { return nil }  // Last
      // Two frames more where it serves virtual LPIs (GICv4).
      offset += (type & 1 << 1 != 0 ? 4 : 2) * Self.frameBytes
    }
    return nil
  }

  // Aff3 to Aff0 of MPIDR_EL1 in 32 bits, as GICR_TYPER has them.
  private static func packed(_ affinity: UInt64) -> UInt32 {
    UInt32(truncatingIfNeeded: affinity >> 32 & 0xff) << 24 | UInt32(truncatingIfNeeded: affinity & 0xff_ffff)
  }

  /// Returns what names the CPU in ICC_SGI1R_EL1: Aff3 [55:48], RS [47:44], Aff2 [39:32], Aff1 [23:16], its bit [15:0].
  func startThisCPU() -> UInt64? {
    guard let redistributor = ownRedistributor else { return nil }
    // Awake: GICR_WAKER.ProcessorSleep off, until ChildrenAsleep is off too.
    ca_store32(redistributor + 0x014, ca_load32(redistributor + 0x014) & ~2)
    while ca_load32(redistributor + 0x014) & 4 != 0 { ca_yield() }
    let own = redistributor + Self.frameBytes
    quieten(own, 0)
    // GICR_IPRIORITYR: all equal, so that the lowest number comes first.
    for word in 0..<8 as Range<UInt> { ca_store32(own + 0x400 + word * 4, 0xa0a0_a0a0) }
    ca_store32(own + 0x100, 0xffff)  // GICR_ISENABLER0
    awaitWrites(redistributor, bit: 3)
    ca_write_icc_sre_el1(1)
    ca_isb()
    // A controller whose registers are not those of the system would ignore all that follows.
    guard ca_read_icc_sre_el1() & 1 != 0 else { return nil }
    ca_write_icc_pmr_el1(0xff)
    ca_write_icc_bpr1_el1(0)
    ca_write_icc_ctlr_el1(0)  // EOIR both drops the priority and deactivates
    ca_write_icc_igrpen1_el1(1)
    ca_isb()
    let affinity = ca_read_mpidr_el1()
    let (level0, level1) = (affinity & 0xff, affinity >> 8 & 0xff)
    let (level2, level3) = (affinity >> 16 & 0xff, affinity >> 32 & 0xff)
    return level3 << 48 | (level0 >> 4) << 44 | level2 << 32 | level1 << 16 | 1 << (level0 & 15)
  }

  func stopThisCPU() {
    ca_write_icc_igrpen1_el1(0)
    ca_isb()
  }

  func enablePrivate(_ interrupt: UInt32) {
    guard let redistributor = ownRedistributor else { return }
    ca_store32(redistributor + Self.frameBytes + 0x100, 1 << interrupt)  // GICR_ISENABLER0
  }

  /// The ISB has the write take effect now.
  func generate(_ interrupt: UInt32, target: UInt64) {
    ca_write_icc_sgi1r_el1(target | UInt64(interrupt) << 24)
    ca_isb()
  }

  /// A read of the register is ordered before later loads by a DSB only (IHI 0069, 12.1.6).
  func acknowledge() -> UInt32 {
    let acknowledged = UInt32(truncatingIfNeeded: ca_read_icc_iar1_el1())
    ca_dsb_sy()
    return acknowledged & 0x3ff == noInterrupt ? noInterrupt : acknowledged
  }

  func finish(_ acknowledged: UInt32) {
    ca_write_icc_eoir1_el1(UInt64(acknowledged))
    ca_isb()
  }
}
