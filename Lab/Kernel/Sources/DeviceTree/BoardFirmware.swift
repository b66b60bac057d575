// The device tree's description of the firmware that starts and stops CPUs: PSCI.
//
// Source: Arm Power State Coordination Interface, DEN 0022, 5 "PSCI functions"; Linux's device tree binding "arm/psci".

/// The PSCI firmware: the instruction that calls it, and its function numbers.
public struct BoardFirmware {
  /// The instruction that calls it.
  public enum Conduit {
    /// `HVC`.
    case hypervisorCall
    /// `SMC`.
    case secureMonitorCall
  }

  /// The conduit, or `nil` if there is no firmware or its conduit is unknown.
  public private(set) var conduit: Conduit?
  /// CPU_ON, or 0.
  public private(set) var startFunction: UInt64 = 0
  /// CPU_OFF, or 0.
  public private(set) var stopFunction: UInt64 = 0
  /// AFFINITY_INFO, or 0.
  public private(set) var stateFunction: UInt64 = 0
  /// SYSTEM_OFF, or 0.
  public private(set) var systemOffFunction: UInt64 = 0

  /// Makes the description of a board without firmware.
  public init() {}

  /// Reads a node of the device tree.
  ///
  /// Function numbers in the node take precedence over the standard ones, which versions before 0.2 do not have.
  init(_ node: NodeProperties, hasStandardFunctions: Bool) {
    if node.method.contains("hvc") {
      conduit = .hypervisorCall
    } else if node.method.contains("smc") {
      conduit = .secureMonitorCall
    }
    if hasStandardFunctions {
      startFunction = 0xc400_0003
      stopFunction = 0x8400_0002
      stateFunction = 0xc400_0004
      systemOffFunction = 0x8400_0008
    }
    if node.startFunction.cellCount == 1 { startFunction = UInt64(node.startFunction.cell(0)) }
    if node.stopFunction.cellCount == 1 { stopFunction = UInt64(node.stopFunction.cell(0)) }
  }

  /// Whether CPUs can be started and stopped.
  public var startsCPUs: Bool { conduit != nil && startFunction != 0 && stopFunction != 0 }

  /// Whether firmware can report which CPUs have stopped.
  public var tellsStates: Bool { startsCPUs && stateFunction != 0 }
}
