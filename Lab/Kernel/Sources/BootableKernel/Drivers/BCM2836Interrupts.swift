// The interrupt controller of the four cores of a BCM2836 or BCM2837: timers of the cores, and mailboxes between them.
//
//   +0x40 + 4n   timers of core n that interrupt it: a bit for each of the four
//   +0x50 + 4n   mailboxes of core n that interrupt it
//   +0x60 + 4n   what interrupts core n now: timers [3:0], mailboxes [7:4]
//   +0x80 + 16n  mailbox 0 of core n: sets bits      +0xc0 + 16n  reads it; clears bits
//
// Bit i of mailbox 0 is interrupt i from another CPU. Those that are pending stay pending until they are acknowledged.
//
// Source: Broadcom, "BCM2836 ARM-local peripherals", revision 3.4.
import CAArch64

/// The interrupt controller of a BCM2836's cores.
struct BCM2836Interrupts: InterruptController {
  /// The virtual address of its registers.
  let base: UInt

  private func timers(_ core: UInt) -> UInt { base + 0x40 + 4 * core }
  private func mailboxes(_ core: UInt) -> UInt { base + 0x50 + 4 * core }
  private func pending(_ core: UInt) -> UInt { base + 0x60 + 4 * core }
  private func setMailbox(_ core: UInt) -> UInt { base + 0x80 + 16 * core }
  private func clearMailbox(_ core: UInt) -> UInt { base + 0xc0 + 16 * core }

  private var thisCore: UInt { UInt(ca_read_mpidr_el1() & 3) }

  /// There is nothing that all CPUs share.
  func start() {}

  func startThisCPU() -> UInt64? {
    let core = thisCore
    ca_store32(timers(core), 0)
    ca_store32(clearMailbox(core), .max)
    ca_store32(mailboxes(core), 1)
    return UInt64(core)
  }

  func stopThisCPU() {
    ca_store32(timers(thisCore), 0)
    ca_store32(mailboxes(thisCore), 0)
  }

  func enablePrivate(_ interrupt: UInt32) {
    let core = thisCore
    ca_store32(timers(core), ca_load32(timers(core)) | 1 << (interrupt - 16))
  }

  func generate(_ interrupt: UInt32, target: UInt64) {
    ca_store32(setMailbox(UInt(target)), 1 << interrupt)
  }

  /// The interrupt of a mailbox ends here, before its handler reads what the sender stored: one that comes later is another.
  func acknowledge() -> UInt32 {
    let core = thisCore
    let sources = ca_load32(pending(core))
    if sources & 1 << 4 != 0 {
      let bits = ca_load32(clearMailbox(core))
      if bits != 0 {
        let interrupt = UInt32(bits.trailingZeroBitCount)
        ca_store32(clearMailbox(core), 1 << interrupt)
        ca_dsb_sy()
        return interrupt
      }
    }
    let timers = sources & 0xf
    return timers != 0 ? 16 + UInt32(timers.trailingZeroBitCount) : noInterrupt
  }

  /// A timer's interrupt ends when the timer is set anew.
  func finish(_ acknowledged: UInt32) {}
}
