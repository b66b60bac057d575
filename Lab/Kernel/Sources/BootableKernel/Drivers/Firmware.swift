// Calls to the firmware that starts and stops CPUs and the machine: PSCI.
//
// Source: Arm Power State Coordination Interface, DEN 0022, 5 "PSCI functions"; Linux's device tree binding "arm/psci".
import CAArch64
import DeviceTree
import KernelStacks

extension BoardFirmware {
  /// Starts a CPU at a physical address, with `argument` in x0.
  ///
  /// - Returns: whether firmware has accepted.
  func start(_ affinity: UInt64, at entry: PhysicalAddress, argument: PhysicalAddress) -> Bool {
    call(startFunction, affinity, UInt64(entry.rawValue), UInt64(argument.rawValue)) == 0
  }

  /// Stops the current CPU; returns only if firmware refuses.
  func stopThisCPU() { _ = call(stopFunction, 0, 0, 0) }

  /// Whether a CPU has stopped: it executes nothing, and can be started again.
  func hasStopped(_ affinity: UInt64) -> Bool { call(stateFunction, affinity, 0, 0) == 1 }

  /// Switches the machine off, if firmware can.
  func switchOff() { if systemOffFunction != 0 { _ = call(systemOffFunction, 0, 0, 0) } }

  private func call(_ function: UInt64, _ a: UInt64, _ b: UInt64, _ c: UInt64) -> Int64 {
    switch conduit {
    case .hypervisorCall: Int64(bitPattern: ca_hypervisor_call(function, a, b, c))
    case .secureMonitorCall: Int64(bitPattern: ca_secure_monitor_call(function, a, b, c))
    case nil: -1  // NOT_SUPPORTED
    }
  }
}
