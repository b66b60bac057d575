// Waits for the kernel's locks, by name.
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios

/// The waits of all CPUs for each lock since boot.
func readLockWaits() -> LockWaitTable {
  var table = LockWaitTable()
  AArch64().visitLockWaits { lock, count, ticks in
    table.add(LockWaits(count: Int(count), nanoseconds: nanoseconds(ticks)), for: lockName(at: lock))
  }
  // Waits for locks that the machine's table had no place for.
  let all = AArch64().lockWaits
  let others = LockWaits(
    count: Int(all.count) - table.total.count, nanoseconds: nanoseconds(all.ticks) - table.total.nanoseconds)
  if others.count > 0 { table.add(others, for: nil) }
  return table
}

private func lockName(at address: UInt) -> StaticString? {
  KernelObjects.processes.pointee.lockName(at: address) ?? Scheduler.core.pointee.lockName(at: address)
    ?? KernelObjects.stacks.pointee.lockName(at: address) ?? KernelObjects.arena.pointee.lockName(at: address)
    ?? KernelObjects.frames.pointee.lockName(at: address)
    ?? (address == kernel_console_lock() ? "consoleLine" : nil)
}

// Whole seconds apart, so that the product does not overflow.
private func nanoseconds(_ ticks: UInt64) -> Int {
  let (seconds, rest) = ticks.quotientAndRemainder(dividingBy: ca_read_cntfrq_el0())
  return Int(seconds * 1_000_000_000 + rest * 1_000_000_000 / ca_read_cntfrq_el0())
}
