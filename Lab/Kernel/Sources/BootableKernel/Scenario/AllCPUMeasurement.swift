// The benchmark on all CPUs at once: on one CPU before the others are started, then on all.
import AArch64Machine
import CAArch64
import KernelStacks
import Scenarios

// The benchmark, which lies on the boot stack while all CPUs use it.
nonisolated(unsafe) private var benchmark: UnsafeMutablePointer<AllCPUBenchmark<AArch64>>?

private func carryOutStep(_ step: UInt) {
  guard let step = AllCPUBenchmark<AArch64>.Step(rawValue: step) else { return }
  benchmark?.pointee.carryOut(step, KernelObjects.bareStacks.pointee)
}

/// Measures stacks on one CPU and on all at once, if there are several.
///
/// For the boot task, before other CPUs are started.
///
/// - Returns: whether the costs are within their bounds.
func runAllCPUBenchmark(_ strategy: StackStrategy) -> Bool {
  let count = AArch64().cpuCount
  guard count > 1 else { return true }
  let stacks = KernelObjects.bareStacks
  do {
    // WFE lets the emulator go on with the next CPU.
    var measurement = try AllCPUBenchmark(stacks.pointee) { ca_wait_for_event() }
    defer { measurement.release(stacks.pointee) }
    return withUnsafeMutablePointer(to: &measurement) { measurement in
      benchmark = measurement
      let one = measurement.pointee.measure(cpus: 1, stacks.pointee) { carryOutStep($0.rawValue) }
      let state = ca_disable_interrupts()
      startCPUs()
      ca_restore_interrupts(state)
      let all = measurement.pointee.measure(cpus: count, stacks.pointee) { step in
        runOnMeasuredCPUs(count, { carryOutStep($0) }, step.rawValue)
      }
      return AllCPUBenchmark<AArch64>.write(
        one: one, all: all, cpus: count, strategy: strategy, to: Console())
    }
  } catch {
    fail("memory for measurements", error)
  }
}
