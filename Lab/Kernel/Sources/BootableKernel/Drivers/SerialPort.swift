// The serial port that the console writes to: polled, output only.
import CAArch64
import DeviceTree

/// A serial port, set up by whoever started the machine.
protocol SerialPort {
  /// Sends one byte, waiting for room.
  func send(_ byte: UInt8)
  /// Waits until all bytes have been sent.
  func drain()
}

/// The serial port of the board.
///
/// Embedded Swift has no values of a protocol's type.
enum BoardSerial: SerialPort {
  case pl011(PL011)
  case auxiliary(AuxiliaryUART)

  /// Makes the driver of a port whose registers are mapped at a virtual address.
  init(_ kind: BoardSerialPort.Kind, mappedAt address: UInt) {
    switch kind {
    case .pl011: self = .pl011(PL011(base: address))
    case .auxiliary: self = .auxiliary(AuxiliaryUART(base: address))
    }
  }

  func send(_ byte: UInt8) {
    switch self {
    case .pl011(let port): port.send(byte)
    case .auxiliary(let port): port.send(byte)
    }
  }

  func drain() {
    switch self {
    case .pl011(let port): port.drain()
    case .auxiliary(let port): port.drain()
    }
  }
}
