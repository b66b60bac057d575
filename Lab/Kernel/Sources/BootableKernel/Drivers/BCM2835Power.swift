// The power manager of a BCM2835 and its successors: its watchdog ends the machine.
//
// Source: Linux, drivers/watchdog/bcm2835_wdt.c: a reset to partition 63 is a halt. There is no public manual of the registers.
import CAArch64

/// A BCM2835's power manager.
struct BCM2835Power {
  /// The virtual address of its registers.
  let base: UInt

  private static var control: UInt { 0x1c }
  private static var status: UInt { 0x20 }
  private static var watchdog: UInt { 0x24 }
  private static var password: UInt32 { 0x5a00_0000 }

  /// Halts the machine, within the next millisecond.
  func switchOff() {
    let status = ca_load32(base + Self.status)
    ca_store32(base + Self.status, Self.password | status & 0xffff | 0x555)
    ca_store32(base + Self.watchdog, Self.password | 10)
    let control = ca_load32(base + Self.control)
    ca_store32(base + Self.control, Self.password | control & 0xffcf | 0x20)
    ca_dsb_sy()
    while true { ca_wait_for_interrupt() }
  }
}
