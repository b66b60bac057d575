// What the kernel keeps for each CPU.
//
//   cpu_records:  | record of CPU 0 | record of CPU 1 | … |     512 bytes each
//
//   +0x000  task record of the idle thread
//   +0x160  what boot.S reads when the CPU is started
//   +0x1a8  the rest: state, affinity, counters
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelAssembly
  import KernelStacks
  import Synchronization

  /// Where a CPU stands.
  enum CPUState: UInt64 {
    /// Firmware has it.
    case offline
    /// It has been asked for.
    case starting
    /// It runs threads, or its idle thread.
    case online
    /// Another CPU has panicked: it never does anything again.
    case stopped
    /// It is to go offline, and is not called any more.
    case stopping
  }

  typealias CPUPointer = UnsafeMutablePointer<PerCPU>

  /// A CPU's record.
  ///
  /// Its counters are written by the CPU itself, in exception handlers; others may read them.
  struct PerCPU: ~Copyable {
    static var stride: Int { 512 }

    /// The task that runs when no other can.
    var idle = Thread()
    /// What boot.S reads.
    var start = kernel_cpu_start()
    private let stateWord = Atomic<UInt64>(CPUState.offline.rawValue)
    /// How other CPUs are told apart by firmware.
    var affinity: UInt64 = 0
    /// The CPU's bit in the interrupt controller's lists of targets.
    var interruptTarget: UInt32 = 0
    private let tickCounter = Atomic<Int>(0)
    /// How often a tick took the CPU from code at EL0, from a thread of the kernel itself, from a system call.
    var userPreemptions = 0
    var threadPreemptions = 0
    var systemCallPreemptions = 0
    /// How often another task was switched in.
    var switches = 0
    /// How many interrupts came from other CPUs.
    var interprocessorInterrupts = 0
    /// How many invalidations of kernel addresses its tick has issued by ``ThreadStackAllocator/age()``.
    var agingInvalidations = 0

    /// The record of the CPU with a number.
    static func at(_ number: Int) -> CPUPointer {
      CPUPointer(bitPattern: kernel_cpu_records() + UInt(number * stride)).unsafelyUnwrapped
    }

    /// The record of the CPU that runs this.
    ///
    /// Interrupts are off.
    static var current: CPUPointer { at(AArch64().currentCPU) }

    /// Where the CPU stands: what was written before the state was set is seen by whoever sees the state.
    var state: CPUState {
      get { CPUState(rawValue: stateWord.load(ordering: .acquiring)).unsafelyUnwrapped }
      nonmutating set { stateWord.store(newValue.rawValue, ordering: .releasing) }
    }

    /// How many ticks there were; read anew each time, so that a loop may wait for it.
    var ticks: Int { tickCounter.load(ordering: .relaxed) }

    /// Counts a tick of this CPU, in its handler.
    func countTick() { tickCounter.store(ticks &+ 1, ordering: .relaxed) }
  }

  /// Calls `body` with each CPU's record, in order.
  func forEachCPU(_ body: (Int, CPUPointer) -> Void) {
    for number in 0..<AArch64().cpuCount { body(number, PerCPU.at(number)) }
  }
#endif
