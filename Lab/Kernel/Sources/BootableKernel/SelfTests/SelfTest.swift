// Checks of what only a real machine can show, each run alone in a machine of its own: `scenario=self-test test=NAME`.
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
    /// All RAM that may be mapped is, and nothing else.
    case addressSpace
    /// A thread of the kernel runs into the guard: report, and the thread ends alone.
    case guardThread
    /// A thread that holds a lock runs into the guard: report, then panic.
    case overflowWithLock
    /// A thread inside a section of the allocator runs into the guard: report, then panic.
    case overflowInAllocator
    /// A linear stack's end marker is damaged: report, then panic.
    case lateOverflow
    /// A thread's stack pointer is not on its stack: report by what it is, then panic.
    case stackPointer
    /// An alignment fault of a stack pointer: report, then panic.
    case alignmentFault
    /// Exception entry finds no exception stack: a panic on the emergency stack.
    case exceptionStack
    /// A process's system call runs into the guard: report, and the process ends alone.
    case guardSystemCall
    /// The boot stack runs into its guard.
    case guardBoot
    /// The tick takes the CPU from EL0, from system calls and from kernel threads, and nobody's work is disturbed.
    case preemption
    /// A process writes a line to the console.
    case write
    /// Processes write lines to the console at the same time.
    case writeLines
    /// The first process ends while a child computes.
    case leaveChild
    /// Processes keep values in the register that belongs to each alone.
    case threadPointers
    /// Processes touch what they have no right to, and end.
    case forbidden
    /// Threads use all of their stacks while the dead pages of those that are ready are taken.
    case proofsUnderPressure
    /// Faults that are over when their handlers look.
    case faultsThatAreOver
    /// The vmalloc area: areas with guards, their listing, all given back.
    case vmalloc
    /// One NUMA node runs empty: stacks come from the other.
    case nodes
    /// A stack pointer leads to the current task, and a stack's address to its frame.
    case lookup
    /// Blocks of bytes of all lengths and overlaps are copied, filled and compared as byte by byte.
    case memoryRoutines
    /// Instructions are counted exactly, wherever the counter is read.
    case instructionCounts
    /// Threads of the kernel go deep into growing stacks and back, preempted all the while, and find what they left.
    case growth
    /// Sections of thread code that take no fault, and whose pages stay while others' are taken.
    case ensured
    /// Groups of threads get no more stack memory than their limits, and refusals say so.
    case groups
    /// Threads grow while nobody gives memory back, until no task can run: a report, then a panic.
    case stall
    /// What an owner of a stack leaves at any depth is gone for the next one, and CPUs that can tell which pages were
    /// used do.
    case dirtyState
    /// All CPUs run, each with what is its own.
    case cpus
    /// All CPUs take one lock at the same time.
    case lockStorm
    /// Threads run on all CPUs and move between them.
    case threadsOnCPUs
    /// Threads wake each other across CPUs.
    case wakeUps
    /// CPUs go offline and come back while threads run.
    case cpusComeAndGo
    /// Idle CPUs hear of work whenever it comes.
    case idleWork
    /// A CPU answers calls before it goes offline.
    case callsBeforeDepartures
    /// What one CPU has unmapped, another does not see.
    case translations
    /// Processes get ASIDs of one generation after the other.
    case identifierRollover
    /// A CPU panics while the others write to the console: one report, and silence.
    case panicOnOtherCPU
    /// An exception in an exception handler ends in a panic on the emergency stack.
    case handlerFault
    /// The same, at the highest addresses there are.
    case handlerFaultAtTop
    /// A thread faults whose frame pointer is the highest address there is.
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

    /// Runs the test; tells whether its checks held.
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

  /// Writes a check, and tells whether it held.
  func check(_ name: StaticString, _ passed: Bool) -> Bool {
    Console.check(name, passed: passed)
    return passed
  }

  /// Forks and ends processes until ASIDs have been handed out several times; run with `asid-bits`.
  private func testIdentifierRollover() -> Bool {
    let passed = runProgram(.forkChurn, operations: 3000)
    return check("ASIDs came to an end", KernelObjects.processes.pointee.addressSpaceTags.rolloverCount > 3)
      && passed
  }

  /// Runs a program as the first process; tells whether it found everything right and left nothing behind.
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
