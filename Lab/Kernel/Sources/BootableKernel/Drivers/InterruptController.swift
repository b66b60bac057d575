// The interrupt controller, a GICv2: private interrupts (PPIs) and those that CPUs send each other (SGIs).
//
// Source: ARM Generic Interrupt Controller Architecture Specification, version 2.0, IHI 0048.
import CAArch64

/// A GICv2.
struct InterruptController {
  /// The virtual addresses of the distributor and of the CPU interface.
  let distributor: UInt
  let cpuInterface: UInt

  /// The ID that ``acknowledge()`` returns when no interrupt is pending.
  static var spurious: UInt32 { 1023 }

  /// Starts the distributor with no interrupt enabled, pending or active: a boot loader may have left some.
  func start() {
    ca_store32(distributor + 0x000, 0)  // GICD_CTLR
    let words = UInt(ca_load32(distributor + 0x004) & 31) + 1  // GICD_TYPER.ITLinesNumber
    // The first word is banked: each CPU's own interrupts.
    for word in 1..<max(words, 2) { quieten(word) }
    ca_store32(distributor + 0x000, 1)
  }

  private func quieten(_ word: UInt) {
    ca_store32(distributor + 0x180 + word * 4, .max)  // GICD_ICENABLER
    ca_store32(distributor + 0x280 + word * 4, .max)  // GICD_ICPENDR
    ca_store32(distributor + 0x380 + word * 4, .max)  // GICD_ICACTIVER
  }

  /// Lets the current CPU take interrupts of every priority: SGIs at once, and PPIs when they are enabled.
  ///
  /// - Returns: the CPU's bit in target lists: the target that its private interrupts read as.
  func startThisCPU() -> UInt32 {
    ca_store32(cpuInterface + 0x000, 0)  // GICC_CTLR
    quieten(0)
    for word in 0..<4 as Range<UInt> {
      ca_store32(distributor + 0xf10 + word * 4, .max)  // GICD_CPENDSGIR
      ca_store32(cpuInterface + 0x0d0 + word * 4, 0)  // GICC_APR: none is being handled
    }
    // GICD_IPRIORITYR: all equal, so that the lowest number comes first.
    for word in 0..<8 as Range<UInt> { ca_store32(distributor + 0x400 + word * 4, 0xa0a0_a0a0) }
    ca_store32(distributor + 0x100, 0xffff)  // GICD_ISENABLER0
    ca_store32(cpuInterface + 0x004, 0xff)  // GICC_PMR
    ca_store32(cpuInterface + 0x008, 0)  // GICC_BPR
    ca_store32(cpuInterface + 0x000, 1)
    return ca_load32(distributor + 0x800) & 0xff  // GICD_ITARGETSR0
  }

  /// Stops interrupts on the current CPU.
  func stopThisCPU() { ca_store32(cpuInterface + 0x000, 0) }

  /// Enables a private interrupt by its ID (16…31).
  func enablePrivate(_ interrupt: UInt32) {
    ca_store32(distributor + 0x100, 1 << interrupt)  // GICD_ISENABLER0
  }

  /// Raises an interrupt (0…15) on the CPUs whose bits are set.
  ///
  /// Their handlers see all earlier stores of this CPU.
  func generate(_ interrupt: UInt32, targets: UInt32) {
    ca_dsb_ishst()
    ca_store32(distributor + 0xf00, targets << 16 | interrupt)  // GICD_SGIR
  }

  /// Raises an interrupt (0…15) on the current CPU; on a controller with one CPU, target lists have no bit for it.
  func generateOnThis(_ interrupt: UInt32) {
    ca_dsb_ishst()
    ca_store32(distributor + 0xf00, 2 << 24 | interrupt)  // GICD_SGIR
  }

  /// Raises an interrupt (0…15) on all CPUs but this one.
  func generateOnOthers(_ interrupt: UInt32) {
    ca_dsb_ishst()
    ca_store32(distributor + 0xf00, 1 << 24 | interrupt)  // GICD_SGIR
  }

  /// Acknowledges the pending interrupt of the highest priority; its ID is in bits 9:0.
  ///
  /// Loads after this see what the sending CPU stored before: without the barrier they could be performed before the load of
  /// the register, and miss those stores.
  func acknowledge() -> UInt32 {
    let acknowledged = ca_load32(cpuInterface + 0x00c)  // GICC_IAR
    ca_dmb_ishld()
    return acknowledged
  }

  /// Signals the end of an acknowledged interrupt.
  func finish(_ acknowledged: UInt32) { ca_store32(cpuInterface + 0x010, acknowledged) }
}
