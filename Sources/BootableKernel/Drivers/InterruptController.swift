// The interrupt controller: GICv2, private interrupts of the boot CPU only.
//
// Source: ARM Generic Interrupt Controller Architecture Specification, version 2.0, IHI 0048.
#if hasFeature(Embedded)
  import CAArch64

  /// A GICv2.
  struct InterruptController {
    /// The virtual addresses of the distributor and of the CPU interface.
    let distributor: UInt
    let cpuInterface: UInt

    /// What acknowledging yields when nothing is pending.
    static var spurious: UInt32 { 1023 }

    /// Forwards interrupts of every priority to this CPU.
    func start() {
      ca_store32(distributor + 0x000, 1)  // GICD_CTLR
      ca_store32(cpuInterface + 0x004, 0xff)  // GICC_PMR
      ca_store32(cpuInterface + 0x000, 1)  // GICC_CTLR
    }

    /// Enables a private interrupt by its ID (16…31).
    func enablePrivate(_ interrupt: UInt32) {
      ca_store32(distributor + 0x100, 1 << interrupt)  // GICD_ISENABLER0
    }

    /// Takes the pending interrupt of the highest priority; its ID is in bits 9:0.
    func acknowledge() -> UInt32 { ca_load32(cpuInterface + 0x00c) }

    /// Says that an acknowledged interrupt has been dealt with.
    func finish(_ acknowledged: UInt32) { ca_store32(cpuInterface + 0x010, acknowledged) }
  }
#endif
