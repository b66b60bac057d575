// The tick's part in giving freed stacks back: requests of other CPUs, and the ageing of demand.
import AArch64Machine
import KernelProcesses
import KernelStacks
import Scenarios

/// Gives back freed stacks: those that another CPU has requested of this one, and once a second some that are not in demand.
///
/// Called in the tick's handler, with interrupts off.
func serveFreedStacks(tick: Int) {
  guard KernelObjects.hasProcesses else { return }
  KernelObjects.stacks.pointee.serviceReclaimRequest()
  if AArch64().currentCPU == 0, tick % Interrupts.ticksPerSecond == 0 { ageFreedStacks() }
}

// Interrupts are off, so that all invalidations counted meanwhile are due to ageing.
private func ageFreedStacks() {
  let before = AArch64().invalidationsOfThisCPU
  KernelObjects.stacks.pointee.age()
  PerCPU.current.pointee.agingInvalidations &+= Int(AArch64().invalidationsOfThisCPU &- before)
}

/// The number of invalidations of kernel addresses that ageing has issued, on all CPUs.
var agingInvalidations: Int {
  var sum = 0
  forEachCPU { _, cpu in sum &+= cpu.pointee.agingInvalidations }
  return sum
}
