// Firmware that starts and stops CPUs and the machine: PSCI.
//
// Source: Arm Power State Coordination Interface, DEN 0022, 5 "PSCI functions"; Linux's device tree binding "arm/psci".
#if hasFeature(Embedded)
  import CAArch64
  import KernelStacks

  /// How firmware is called, and by which numbers its functions go.
  struct Firmware {
    /// The instruction that calls it.
    enum Conduit {
      case hypervisorCall
      case secureMonitorCall
    }

    /// `nil` where there is no firmware, or none that is called in a way that is understood.
    private(set) var conduit: Conduit?
    /// CPU_ON, or 0.
    private(set) var startFunction: UInt64 = 0
    /// CPU_OFF, or 0.
    private(set) var stopFunction: UInt64 = 0
    /// AFFINITY_INFO, or 0.
    private var stateFunction: UInt64 = 0
    private var hasSystemOff = false

    /// No firmware.
    init() {}

    /// What a node of the device tree says.
    ///
    /// Numbers that it gives go before those of the standard, which versions before 0.2 do not have.
    init(_ node: NodeProperties, hasStandardFunctions: Bool) {
      if node.method.contains("hvc") {
        conduit = .hypervisorCall
      } else if node.method.contains("smc") {
        conduit = .secureMonitorCall
      }
      hasSystemOff = hasStandardFunctions
      if hasStandardFunctions {
        startFunction = 0xc400_0003
        stopFunction = 0x8400_0002
        stateFunction = 0xc400_0004
      }
      if node.startFunction.cellCount == 1 { startFunction = UInt64(node.startFunction.cell(0)) }
      if node.stopFunction.cellCount == 1 { stopFunction = UInt64(node.stopFunction.cell(0)) }
    }

    /// Whether CPUs can be started and stopped.
    var startsCPUs: Bool { conduit != nil && startFunction != 0 && stopFunction != 0 }

    /// Starts a CPU at a physical address, with `argument` in x0.
    ///
    /// - Returns: whether it is on its way.
    func start(_ affinity: UInt64, at entry: PhysicalAddress, argument: PhysicalAddress) -> Bool {
      call(startFunction, affinity, UInt64(entry.rawValue), UInt64(argument.rawValue)) == 0
    }

    /// Stops the CPU that calls this; returns only if that is refused.
    func stopThisCPU() { _ = call(stopFunction, 0, 0, 0) }

    /// Whether it can be asked which CPUs have stopped.
    var tellsStates: Bool { startsCPUs && stateFunction != 0 }

    /// Whether a CPU has stopped: it executes nothing, and can be started.
    func hasStopped(_ affinity: UInt64) -> Bool { call(stateFunction, affinity, 0, 0) == 1 }

    /// Switches the machine off, if firmware can; it knows no exit code.
    func switchOff() { if hasSystemOff { _ = call(0x8400_0008, 0, 0, 0) } }

    private func call(_ function: UInt64, _ a: UInt64, _ b: UInt64, _ c: UInt64) -> Int64 {
      switch conduit {
      case .hypervisorCall: Int64(bitPattern: ca_hypervisor_call(function, a, b, c))
      case .secureMonitorCall: Int64(bitPattern: ca_secure_monitor_call(function, a, b, c))
      case nil: -1  // NOT_SUPPORTED
      }
    }
  }
#endif
