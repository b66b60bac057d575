// The per-CPU records.
//
//   cpu_records:  | record of CPU 0 | record of CPU 1 | … |     512 bytes each
//
//   +0x000  task record of the idle thread
//   +0x160  what boot.S reads when the CPU is started
//   +0x1a8  the rest: state, affinity, counters
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelStacks
import Synchronization

/// The state of a CPU.
enum CPUState: UInt64 {
  /// Powered off, under firmware's control.
  case offline
  /// Started, and not yet running threads.
  case starting
  /// Running threads, or its idle thread.
  case online
  /// Stopped for good, because another CPU has panicked.
  case stopped
  /// About to go offline; it is no longer called.
  case stopping
}

typealias CPUPointer = UnsafeMutablePointer<PerCPU>

/// The record of a CPU.
///
/// Only the CPU itself writes its counters, in exception handlers; others may read them.
struct PerCPU: ~Copyable {
  static var stride: Int { 512 }

  /// The task that runs when no other is ready.
  var idle = Thread()
  /// The values that boot.S reads when the CPU is started.
  var start = kernel_cpu_start()
  private let stateWord = Atomic<UInt64>(CPUState.offline.rawValue)
  /// The affinity (MPIDR_EL1) that firmware knows the CPU by.
  var affinity: UInt64 = 0
  /// The CPU's bit in the interrupt controller's target lists.
  var interruptTarget: UInt32 = 0
  private let tickCounter = Atomic<Int>(0)
  /// The numbers of ticks that preempted code at EL0, kernel threads and system calls.
  var userPreemptions = 0
  var threadPreemptions = 0
  var systemCallPreemptions = 0
  /// The number of switches to another task.
  var switches = 0
  /// The number of interrupts from other CPUs.
  var interprocessorInterrupts = 0
  /// The number of invalidations of kernel addresses that its tick has issued by ``ThreadStackAllocator/age()``.
  var agingInvalidations = 0

  /// The record of the CPU with this number.
  static func at(_ number: Int) -> CPUPointer {
    CPUPointer(bitPattern: kernel_cpu_records() + UInt(number * stride)).unsafelyUnwrapped
  }

  /// The record of the current CPU.
  ///
  /// Interrupts are off.
  static var current: CPUPointer { at(AArch64().currentCPU) }

  /// The state; a CPU that reads it sees all that was written before it was set.
  var state: CPUState {
    get { CPUState(rawValue: stateWord.load(ordering: .acquiring)).unsafelyUnwrapped }
    nonmutating set { stateWord.store(newValue.rawValue, ordering: .releasing) }
  }

  /// The number of ticks, read from memory each time, so that a loop may wait for it.
  var ticks: Int { tickCounter.load(ordering: .relaxed) }

  /// Counts a tick of this CPU; called in its handler.
  func countTick() { tickCounter.store(ticks &+ 1, ordering: .relaxed) }
}

/// Calls `body` with each CPU's number and record, in order.
func forEachCPU(_ body: (Int, CPUPointer) -> Void) {
  for number in 0..<AArch64().cpuCount { body(number, PerCPU.at(number)) }
}
