// The self-tests: checks that need the real machine, each run alone after a boot of its own: `scenario=self-test test=NAME`.
#if hasFeature(Embedded)
  import CAArch64
  import DeviceTree
  import KernelAssembly
  import KernelProcesses
  import KernelStacks
  import Scenarios
  import SystemCallInterface
  import UserPrograms

  /// A self-test of the kernel.
  enum SelfTest {
    /// No page is both writable and executable, and text and rodata are writable at no address.
    case writeXorExecute
    /// All RAM that may be mapped is mapped, and nothing else.
    case addressSpace
    /// A kernel thread runs into its guard: a report, and only the thread ends.
    case guardThread
    /// A thread that holds a lock runs into its guard: a report, then a panic.
    case overflowWithLock
    /// A thread in an allocator section runs into its guard: a report, then a panic.
    case overflowInAllocator
    /// A linear stack's end marker is damaged: a report, then a panic.
    case lateOverflow
    /// A thread's stack pointer is off its stack: a report of where it is, then a panic.
    case stackPointer
    /// A stack pointer takes an alignment fault: a report, then a panic.
    case alignmentFault
    /// Exception entry finds no usable exception stack: a panic on the emergency stack.
    case exceptionStack
    /// A process's system call runs into the guard: a report, and only the process ends.
    case guardSystemCall
    /// The boot stack runs into its guard.
    case guardBoot
    /// The tick preempts EL0, system calls and kernel threads, and their results stay right.
    case preemption
    /// A process writes a line to the console.
    case write
    /// Processes write lines to the console at the same time.
    case writeLines
    /// The first process ends while a child computes.
    case leaveChild
    /// Processes keep values in TPIDR_EL0, which belongs to each alone.
    case threadPointers
    /// Processes use what they have no right to, and end.
    case forbidden
    /// Threads use all of their stacks while the dead pages of ready threads are taken.
    case proofsUnderPressure
    /// Faults whose address is mapped by the time their handlers look.
    case faultsThatAreOver
    /// Areas of the vmalloc area: guards, listing, all frames given back.
    case vmalloc
    /// One NUMA node is empty: stacks come from the other.
    case nodes
    /// A stack pointer leads to the current task, and a stack's address to its frame.
    case lookup
    /// Memory routines at all lengths and overlaps give the results of byte-by-byte loops.
    case memoryRoutines
    /// Instruction counts are exact wherever the counter is read.
    case instructionCounts
    /// Kernel threads go deep into growing stacks and back, preempted all the while, and find their words.
    case growth
    /// Ensured sections take no fault and keep their pages while those of others are taken.
    case ensured
    /// Stack groups get no more stack memory than their limits, and refusals report it.
    case groups
    /// Threads grow and no memory is given back, until no task can run: a report, then a panic.
    case stall
    /// Nothing that an owner leaves in a stack at any depth reaches the next, and CPUs with dirty state use it.
    case dirtyState
    /// All CPUs run, each with its own state.
    case cpus
    /// All CPUs take one lock at the same time.
    case lockStorm
    /// Threads run on all CPUs and move between them.
    case threadsOnCPUs
    /// Threads wake each other across CPUs.
    case wakeUps
    /// CPUs go offline and come back while threads run.
    case cpusComeAndGo
    /// Idle CPUs notice work at any moment.
    case idleWork
    /// A CPU answers calls before it goes offline.
    case callsBeforeDepartures
    /// Pages that one CPU has unmapped are gone for the others.
    case translations
    /// ASIDs roll over several times.
    case identifierRollover
    /// A CPU panics while others write to the console: one report, then silence.
    case panicOnOtherCPU
    /// An exception in an exception handler ends in a panic on the emergency stack.
    case handlerFault
    /// The same, at the highest addresses.
    case handlerFaultAtTop
    /// A thread whose frame pointer is the highest address faults.
    case framePointerAtTop
    /// The kernel panics.
    case panic
    /// The kernel never ends.
    case hang

    init?(named name: UnsafeRawBufferPointer) {
      if equal(name, "w-xor-x") {
        self = .writeXorExecute
      } else if equal(name, "address-space") {
        self = .addressSpace
      } else if equal(name, "guard-thread") {
        self = .guardThread
      } else if equal(name, "overflow-with-lock") {
        self = .overflowWithLock
      } else if equal(name, "overflow-in-allocator") {
        self = .overflowInAllocator
      } else if equal(name, "late-overflow") {
        self = .lateOverflow
      } else if equal(name, "stack-pointer") {
        self = .stackPointer
      } else if equal(name, "alignment-fault") {
        self = .alignmentFault
      } else if equal(name, "exception-stack") {
        self = .exceptionStack
      } else if equal(name, "guard-system-call") {
        self = .guardSystemCall
      } else if equal(name, "guard-boot") {
        self = .guardBoot
      } else if equal(name, "preemption") {
        self = .preemption
      } else if equal(name, "write") {
        self = .write
      } else if equal(name, "write-lines") {
        self = .writeLines
      } else if equal(name, "leave-child") {
        self = .leaveChild
      } else if equal(name, "thread-pointers") {
        self = .threadPointers
      } else if equal(name, "forbidden") {
        self = .forbidden
      } else if equal(name, "proofs-under-pressure") {
        self = .proofsUnderPressure
      } else if equal(name, "faults-that-are-over") {
        self = .faultsThatAreOver
      } else if equal(name, "vmalloc") {
        self = .vmalloc
      } else if equal(name, "nodes") {
        self = .nodes
      } else if equal(name, "memory-routines") {
        self = .memoryRoutines
      } else if equal(name, "instruction-counts") {
        self = .instructionCounts
      } else if equal(name, "lookup") {
        self = .lookup
      } else if equal(name, "growth") {
        self = .growth
      } else if equal(name, "ensured") {
        self = .ensured
      } else if equal(name, "groups") {
        self = .groups
      } else if equal(name, "stall") {
        self = .stall
      } else if equal(name, "dirty-state") {
        self = .dirtyState
      } else if equal(name, "cpus") {
        self = .cpus
      } else if equal(name, "lock-storm") {
        self = .lockStorm
      } else if equal(name, "threads-on-cpus") {
        self = .threadsOnCPUs
      } else if equal(name, "wake-ups") {
        self = .wakeUps
      } else if equal(name, "cpus-come-and-go") {
        self = .cpusComeAndGo
      } else if equal(name, "idle-work") {
        self = .idleWork
      } else if equal(name, "calls-before-departures") {
        self = .callsBeforeDepartures
      } else if equal(name, "translations") {
        self = .translations
      } else if equal(name, "asid-rollover") {
        self = .identifierRollover
      } else if equal(name, "panic-on-other-cpu") {
        self = .panicOnOtherCPU
      } else if equal(name, "handler-fault") {
        self = .handlerFault
      } else if equal(name, "handler-fault-at-top") {
        self = .handlerFaultAtTop
      } else if equal(name, "frame-pointer-at-top") {
        self = .framePointerAtTop
      } else if equal(name, "panic") {
        self = .panic
      } else if equal(name, "hang") {
        self = .hang
      } else {
        return nil
      }
    }

    /// Runs the test; returns whether its checks held.
    func run() -> Bool {
      switch self {
      case .writeXorExecute: return testWriteXorExecute()
      case .addressSpace: return testAddressSpace()
      case .guardThread: return testGuardOfThread()
      case .overflowWithLock: testOverflowWithLock()
      case .overflowInAllocator: testOverflowInAllocator()
      case .lateOverflow: testLateOverflow()
      case .stackPointer: return testStackPointer()
      case .alignmentFault: testAlignmentFault()
      case .exceptionStack: testExceptionStack()
      case .guardSystemCall: return runProgram(.overflowStack)
      case .guardBoot: overflow_stack()
      case .preemption: return testPreemption()
      case .write: return runProgram(.writeLine)
      case .leaveChild: return runProgram(.leaveChild, operations: 100_000_000)
      case .writeLines: return runProgram(.writeLines, operations: 50)
      case .threadPointers: return testThreadPointers()
      case .forbidden: return testForbidden()
      case .proofsUnderPressure: return testProofsUnderPressure()
      case .faultsThatAreOver: return testFaultsThatAreOver()
      case .vmalloc: return testVmalloc()
      case .nodes: return testNodes()
      case .memoryRoutines: return testMemoryRoutines()
      case .instructionCounts: return testInstructionCounts()
      case .lookup: return testLookup()
      case .growth: return testGrowth()
      case .ensured: return testEnsured()
      case .groups: return testGroups()
      case .stall: testStall()
      case .dirtyState: return testDirtyState()
      case .cpus: return testCPUs()
      case .lockStorm: return testLockStorm()
      case .threadsOnCPUs: return testThreadsOnCPUs()
      case .wakeUps: return testWakeUps()
      case .cpusComeAndGo: return testCPUsComeAndGo()
      case .idleWork: return testIdleWork()
      case .callsBeforeDepartures: return testCallsBeforeDepartures()
      case .translations: return testTranslationsOfOtherCPUs()
      case .identifierRollover: return testIdentifierRollover()
      case .panicOnOtherCPU: testPanicOnOtherCPU()
      case .handlerFault: testHandlerFault(record: 0xdead_0000)
      case .handlerFaultAtTop: testHandlerFault(record: 0xffff_ffff_ffff_f000)
      case .framePointerAtTop: fault_with_frame_pointer(0xffff_ffff_ffff_fff8)
      case .panic: BootableKernel.panic("asked for")
      case .hang: while true { ca_wait_for_interrupt() }
      }
      return false
    }
  }

  /// Writes the result of a check, and returns it.
  func check(_ name: StaticString, _ passed: Bool) -> Bool {
    Console.check(name, passed: passed)
    return passed
  }

  /// Forks and ends processes until ASIDs have rolled over several times; run with `asid-bits`.
  private func testIdentifierRollover() -> Bool {
    let passed = runProgram(.forkChurn, operations: 3000)
    return check("ASIDs came to an end", KernelObjects.processes.pointee.addressSpaceTags.rolloverCount > 3)
      && passed
  }

  /// Runs a program as the first process; returns whether it ended well and left no process and no frame behind.
  func runProgram(_ program: UserProgram, operations: Int = 0) -> Bool {
    let processes = KernelObjects.processes
    processes.pointee.settle()
    let free = processes.pointee.stacks.frames.freeFrames
    let host: KernelHost
    let first: TaskPointer
    do {
      host = KernelHost(programImage: try loadProgram(KernelObjects.board.pointee.initialRAMDisk))
    } catch {
      fail("EL0 program", error)
    }
    do {
      first = try processes.pointee.createFirst(host.programImage)
    } catch {
      fail("first process", error)
    }
    host.run(first, ProgramArguments(program, operations: operations), in: processes.pointee)
    let ended = first.pointee.end == .exited && first.pointee.exitStatus == 0
    if !ended {
      Console.error(FailedCheck(rawValue: first.pointee.exitStatus)?.name ?? "the program was ended")
    }
    let others = processes.pointee.destroyAll()
    processes.pointee.settle()
    var passed = check("the program found nothing wrong", ended)
    passed = check("no process was left behind", others == 0) && passed
    return check("no frame was lost", processes.pointee.stacks.frames.freeFrames == free) && passed
  }
#endif
