// The benchmark of what one CPU does and the number of CPUs may make dearer, and the bytes that each CPU takes.
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelStacks
import Scenarios

// It lies on the boot stack while all CPUs use it.
nonisolated(unsafe) private var benchmark: UnsafeMutablePointer<CPUCountBenchmark<AArch64>>?

private func takePart(_ isBusy: UInt) { benchmark?.pointee.takePart(isBusy: isBusy != 0) }

/// Measures on one CPU what depends on how many there are, if there are several, and writes what each takes.
///
/// For the boot task, after ``runAllCPUBenchmark(_:)`` has started the others.
///
/// - Returns: whether all operations did what they were to.
func runCPUCountBenchmark(_ strategy: StackStrategy) -> Bool {
  let count = AArch64().cpuCount
  guard count > 1 else { return true }
  let stacks = KernelObjects.bareStacks
  var measurement: CPUCountBenchmark<AArch64>
  do {
    measurement = try CPUCountBenchmark(stacks.pointee)
  } catch { fail("memory for measurements", error) }
  defer { measurement.release(stacks.pointee) }
  let passed = withUnsafeMutablePointer(to: &measurement) { measurement in
    benchmark = measurement
    do throws(ThreadStackError) {
      let one = try measurement.pointee.measure(cpus: 1, stacks.pointee) { takePart($0 ? 1 : 0) }
      let all = try measurement.pointee.measure(cpus: count, stacks.pointee) {
        runOnMeasuredCPUs(count, { takePart($0) }, $0 ? 1 : 0)
      }
      return CPUCountBenchmark<AArch64>.write(
        one: one, all: all, cpus: count, strategy: strategy, to: Console())
    } catch { fail("memory for measurements", error) }
  }
  writeBytes(strategy, count)
  return passed
}

/// The bytes that each CPU takes, by what they are for.
private func writeBytes(_ strategy: StackStrategy, _ count: Int) {
  func row(_ name: StaticString, _ bytes: Int) {
    writeBytesForEachCPU(name, bytes, cpus: count, strategy: strategy, to: Console())
  }
  let stacks = KernelObjects.bareStacks
  row("bytes: magazine and records of stacks", stacks.pointee.metadataBytesForEachCPU)
  row("bytes: lists of free frames", frameListBytes())
  row(
    "bytes: run queue",
    Scheduler.Core.byteCount(cpuCount: 2) - Scheduler.Core.byteCount(cpuCount: 1))
  row("bytes: counters", MemoryLayout<ca_cpu>.stride)
  row("bytes: place in the queue of a lock", Int(ca_lock_node_bytes()))
  row("bytes: record of the CPU", PerCPU.stride)
  // For exceptions and for emergencies (StartCPUs.swift), and the idle thread's, mapped whole.
  row("bytes: stacks", 6 * pageSize + stacks.pointee.geometry.size)
}

// A separate function: each call that reads the memory map copies it to the stack, and stack frames are to stay small.
@inline(never)
private func frameListBytes() -> Int {
  BuddyAllocator<AArch64>.metadataByteCount(for: KernelObjects.memory.pointee, cpuCount: 2)
    - BuddyAllocator<AArch64>.metadataByteCount(for: KernelObjects.memory.pointee, cpuCount: 1)
}
