// The per-CPU records.
//
//   cpu_records:  | address of CPU 0's record | of CPU 1's | … |     a record has 512 bytes: the first CPU's is static, the
//                                                                  others' are made for as many CPUs as there are; until
//                                                                  then there is a static one of zeros, which only says
//                                                                  that the CPU is offline
//
//   +0x000  task record of the idle thread
//   +0x160  what boot.S reads when the CPU is started
//   +0x1a8  the rest: state, place on the board, counters
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelStacks
import Synchronization

/// The state of a CPU.
enum CPUState: UInt64 {
  /// Powered off, under firmware's control.
  case offline
  /// Started, and not heard of yet.
  case starting
  /// Executing the kernel's code, and not yet running threads.
  case arrived
  /// Running threads, or its idle thread.
  case online
  /// Stopped for good, because another CPU has panicked.
  case stopped
  /// About to go offline; it is no longer called.
  case stopping
  /// Started in vain: it did not come in time, and its number is another CPU's.
  case abandoned
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
  /// The CPU's place in the board's list.
  var boardIndex = 0
  /// What the interrupt controller names the CPU by, once it has been started.
  var interruptTarget: UInt64?
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
  static func at(_ number: Int) -> CPUPointer { table[number] }

  /// Makes a CPU's record the one with its number.
  static func place(_ record: CPUPointer, at number: Int) { table[number] = record }

  // The first CPU's is there from the beginning: an exception of early boot looks for it.
  private static var table: UnsafeMutablePointer<CPUPointer> {
    UnsafeMutablePointer(bitPattern: kernel_cpu_records()).unsafelyUnwrapped
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

  /// Changes the state if it is `expected`; returns whether it was.
  ///
  /// Of a CPU that arrives and one that gives up waiting for it, one goes first.
  func changeState(from expected: CPUState, to state: CPUState) -> Bool {
    stateWord.compareExchange(
      expected: expected.rawValue, desired: state.rawValue, ordering: .acquiringAndReleasing
    ).exchanged
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
