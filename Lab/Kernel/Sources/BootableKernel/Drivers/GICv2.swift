// A GICv2: private interrupts (PPIs) and those that CPUs send each other (SGIs), of at most eight CPUs.
//
// Source: ARM Generic Interrupt Controller Architecture Specification, version 2.0, IHI 0048.
import CAArch64

/// A GICv2.
struct GICv2: InterruptController {
  /// The virtual addresses of the distributor and of the CPU interface.
  let distributor: UInt
  let cpuInterface: UInt

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

  /// Returns the CPU's bit in target lists: the target that its private interrupts read as.
  ///
  /// 0 on a controller of one CPU, which has no target lists.
  func startThisCPU() -> UInt64? {
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
    return UInt64(ca_load32(distributor + 0x800) & 0xff)  // GICD_ITARGETSR0
  }

  func stopThisCPU() { ca_store32(cpuInterface + 0x000, 0) }

  func enablePrivate(_ interrupt: UInt32) {
    ca_store32(distributor + 0x100, 1 << interrupt)  // GICD_ISENABLER0
  }

  func generate(_ interrupt: UInt32, target: UInt64) {
    // GICD_SGIR: to the CPUs of a list, or, on a controller of one CPU, to this one.
    let targets = target == 0 ? 2 << 24 : UInt32(truncatingIfNeeded: target) << 16
    ca_store32(distributor + 0xf00, targets | interrupt)
  }

  func acknowledge() -> UInt32 { ca_load32(cpuInterface + 0x00c) }  // GICC_IAR

  func finish(_ acknowledged: UInt32) { ca_store32(cpuInterface + 0x010, acknowledged) }
}
