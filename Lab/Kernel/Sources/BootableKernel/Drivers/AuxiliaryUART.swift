// The small UART among the auxiliary devices of a BCM2835 and its successors ("mini UART").
//
// Source: Broadcom, "BCM2835 ARM Peripherals", 2.2.
import CAArch64

/// A mini UART.
struct AuxiliaryUART: SerialPort {
  /// The virtual address of its registers, from AUX_MU_IO_REG on.
  let base: UInt

  private static var data: UInt { 0x00 }
  private static var lineStatus: UInt { 0x14 }
  private static var hasRoom: UInt32 { 1 << 5 }
  private static var isIdle: UInt32 { 1 << 6 }

  func send(_ byte: UInt8) {
    while ca_load32(base + Self.lineStatus) & Self.hasRoom == 0 {}
    ca_store32(base + Self.data, UInt32(byte))
  }

  func drain() {
    while ca_load32(base + Self.lineStatus) & Self.isIdle == 0 {}
  }
}
