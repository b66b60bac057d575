// A PL011.
//
// Source: PrimeCell UART (PL011) Technical Reference Manual, DDI 0183.
import CAArch64

/// An ARM PrimeCell UART.
struct PL011: SerialPort {
  /// The virtual address of its registers.
  let base: UInt

  private static var data: UInt { 0x00 }
  private static var flags: UInt { 0x18 }
  private static var transmitFull: UInt32 { 1 << 5 }
  private static var busy: UInt32 { 1 << 3 }

  func send(_ byte: UInt8) {
    while ca_load32(base + Self.flags) & Self.transmitFull != 0 {}
    ca_store32(base + Self.data, UInt32(byte))
  }

  func drain() {
    while ca_load32(base + Self.flags) & Self.busy != 0 {}
  }
}
