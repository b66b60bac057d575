// The devices of a board that the kernel drives, by the names that device trees give them.
//
// Source: Linux, Documentation/devicetree/bindings: interrupt-controller/arm,gic.yaml, arm,gic-v3.yaml,
// brcm,bcm2836-l1-intc.yaml; serial/pl011.yaml, brcm,bcm2835-aux-uart.yaml; soc/bcm/brcm,bcm2835-pm.yaml.

/// The first two ranges of a device's registers, at the CPU's addresses.
struct DeviceRegisters {
  /// The first; `nil` if there is none that the CPU can address.
  let first: BoardRange?
  /// The second.
  let second: BoardRange?

  /// Reads those of a node at a depth.
  init(_ node: NodeProperties, _ buses: borrowing BusAddresses, _ depth: Int) {
    let cells = buses.cells(depth: depth - 1)
    let count = node.rangeCount(cells)
    first = count > 0 ? buses.translate(node.range(0, cells), depth: depth) : nil
    second = count > 1 ? buses.translate(node.range(1, cells), depth: depth) : nil
  }
}

/// The interrupt controller that CPUs take interrupts from.
public enum BoardInterruptController: Equatable {
  /// A GICv2: registers of the distributor, and of the CPU interface.
  case gicV2(distributor: BoardRange, cpuInterface: BoardRange)
  /// A GICv3: registers of the distributor; the redistributors of all CPUs, one after the other.
  case gicV3(distributor: BoardRange, redistributors: BoardRange)
  /// The interrupt controller of the cores of a BCM2836 or BCM2837.
  case bcm2836(registers: BoardRange)

  /// The number of cells that name an interrupt.
  var cellsPerInterrupt: Int {
    switch self {
    case .gicV2, .gicV3: 3
    case .bcm2836: 2
    }
  }

  /// Reads the node of a controller; `nil` if it is of another kind, or lacks registers.
  init?(_ node: NodeProperties, _ registers: DeviceRegisters) {
    guard let first = registers.first else { return nil }
    if node.isGICv2, let second = registers.second {
      self = .gicV2(distributor: first, cpuInterface: second)
    } else if node.compatible.contains("arm,gic-v3"), let second = registers.second {
      self = .gicV3(distributor: first, redistributors: second)
    } else if node.compatible.contains("brcm,bcm2836-l1-intc") {
      self = .bcm2836(registers: first)
    } else {
      return nil
    }
  }
}

/// A serial port.
public struct BoardSerialPort: Equatable {
  /// What its registers are.
  public enum Kind {
    /// An ARM PrimeCell UART.
    case pl011
    /// The small UART among the auxiliary devices of a BCM2835 and its successors.
    case auxiliary
  }

  /// What its registers are.
  public var kind: Kind
  /// Its registers.
  public var registers: BoardRange

  /// Makes a description.
  public init(kind: Kind, registers: BoardRange) {
    self.kind = kind
    self.registers = registers
  }

  /// Reads a node; `nil` if it is no serial port that the kernel drives, or lacks registers.
  init?(_ node: NodeProperties, _ registers: DeviceRegisters) {
    guard let registers = registers.first else { return nil }
    if node.compatible.contains("arm,pl011") {
      self.init(kind: .pl011, registers: registers)
    } else if node.compatible.contains("brcm,bcm2835-aux-uart") {
      self.init(kind: .auxiliary, registers: registers)
    } else {
      return nil
    }
  }
}
