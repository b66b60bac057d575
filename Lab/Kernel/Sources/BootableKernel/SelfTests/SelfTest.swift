// The self-tests: checks that need the real machine, each run alone after a boot of its own: `scenario=self-test test=NAME`.
import ByteText
import CAArch64
import DeviceTree
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios
import SystemCallInterface
import UserPrograms

/// A self-test of the kernel.
struct SelfTest {
  /// Runs the test; tells whether its checks held.
  let run: @convention(c) () -> Bool
  /// How many groups of threads it uses.
  let stackGroups: Int

  private init(groups: Int = 0, _ run: @escaping @convention(c) () -> Bool) {
    self.run = run
    stackGroups = groups
  }

  /// The test of this name; `nil` if there is none.
  init?(named name: UnsafeRawBufferPointer) {
    switch name {
    // No page is both writable and executable, and text and rodata are writable at no address.
    case "w-xor-x": self.init(testWriteXorExecute)
    // All RAM that may be mapped is mapped, and nothing else.
    case "address-space": self.init(testAddressSpace)
    // A kernel thread runs into its guard: a report, and only the thread ends.
    case "guard-thread": self.init(testGuardOfThread)
    // A thread that holds a lock runs into its guard: a report, then a panic.
    case "overflow-with-lock": self.init { testOverflowWithLock() }
    // A thread in an allocator section runs into its guard: a report, then a panic.
    case "overflow-in-allocator": self.init { testOverflowInAllocator() }
    // A linear stack's end marker is damaged: a report, then a panic.
    case "late-overflow": self.init { testLateOverflow() }
    // A thread's stack pointer is off its stack: a report of where it is, then a panic.
    case "stack-pointer": self.init(testStackPointer)
    // A stack pointer takes an alignment fault: a report, then a panic.
    case "alignment-fault": self.init { testAlignmentFault() }
    // Exception entry finds no usable exception stack: a panic on the emergency stack.
    case "exception-stack": self.init { testExceptionStack() }
    // A process's system call runs into the guard: a report, and only the process ends.
    case "guard-system-call": self.init { runProgram(.overflowStack) }
    // The boot stack runs into its guard.
    case "guard-boot":
      self.init {
        overflow_stack()
        return false
      }
    // The tick preempts EL0, system calls and kernel threads, and their results stay right.
    case "preemption": self.init(testPreemption)
    // A process writes a line to the console.
    case "write": self.init { runProgram(.writeLine) }
    // Processes write lines to the console at the same time.
    case "write-lines": self.init { runProgram(.writeLines, operations: 50) }
    // The first process ends while a child computes.
    case "leave-child": self.init { runProgram(.leaveChild, operations: 100_000_000) }
    // Processes keep values in TPIDR_EL0, which belongs to each alone.
    case "thread-pointers": self.init(testThreadPointers)
    // Processes use what they have no right to, and end.
    case "forbidden": self.init(testForbidden)
    // Threads use all of their stacks while the dead pages of ready threads are taken.
    case "proofs-under-pressure": self.init(testProofsUnderPressure)
    // Faults whose address is mapped by the time their handlers look.
    case "faults-that-are-over": self.init(testFaultsThatAreOver)
    // Areas of the vmalloc area: guards, listing, all frames given back.
    case "vmalloc": self.init(testVmalloc)
    // One NUMA node is empty: stacks come from the other.
    case "nodes": self.init(testNodes)
    // Memory routines at all lengths and overlaps give the results of byte-by-byte loops.
    case "memory-routines": self.init(testMemoryRoutines)
    // Instruction counts are exact wherever the counter is read.
    case "instruction-counts": self.init(testInstructionCounts)
    // A memory model outside the machine sees known accesses.
    case "memory-model": self.init(testMemoryModel)
    // A stack pointer leads to the current task, and a stack's address to its frame.
    case "lookup": self.init(testLookup)
    // Kernel threads go deep into growing stacks and back, preempted all the while, and find their words.
    case "growth": self.init(testGrowth)
    // Ensured sections take no fault and keep their pages while those of others are taken.
    case "ensured": self.init(testEnsured)
    // Stack groups get no more stack memory than their limits, and refusals report it.
    case "groups": self.init(groups: 2, testGroups)
    // Threads grow and no memory is given back, until no task can run: a report, then a panic.
    case "stall": self.init { testStall() }
    // Nothing that an owner leaves in a stack at any depth reaches the next, and CPUs with dirty state use it.
    case "dirty-state": self.init(testDirtyState)
    // All CPUs run, each with its own state.
    case "cpus": self.init(testCPUs)
    // All CPUs take one lock at the same time.
    case "lock-storm": self.init(testLockStorm)
    // Threads run on all CPUs and move between them.
    case "threads-on-cpus": self.init(testThreadsOnCPUs)
    // Threads wake each other across CPUs.
    case "wake-ups": self.init(testWakeUps)
    // CPUs go offline and come back while threads run.
    case "cpus-come-and-go": self.init(testCPUsComeAndGo)
    // Idle CPUs notice work at any moment.
    case "idle-work": self.init(testIdleWork)
    // A CPU answers calls before it goes offline.
    case "calls-before-departures": self.init(testCallsBeforeDepartures)
    // Pages that one CPU has unmapped are gone for the others.
    case "translations": self.init(testTranslationsOfOtherCPUs)
    // ASIDs roll over several times.
    case "asid-rollover": self.init(testIdentifierRollover)
    // A CPU panics while others write to the console: one report, then silence.
    case "panic-on-other-cpu": self.init { testPanicOnOtherCPU() }
    // An exception in an exception handler ends in a panic on the emergency stack.
    case "handler-fault": self.init { testHandlerFault(record: 0xdead_0000) }
    // The same, at the highest addresses.
    case "handler-fault-at-top": self.init { testHandlerFault(record: 0xffff_ffff_ffff_f000) }
    // A thread whose frame pointer is the highest address faults.
    case "frame-pointer-at-top": self.init { fault_with_frame_pointer(0xffff_ffff_ffff_fff8) }
    // The kernel panics.
    case "panic": self.init { BootableKernel.panic("asked for") }
    // The kernel never ends.
    case "hang": self.init { while true { ca_wait_for_interrupt() } }
    default: return nil
    }
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
  let free = KernelObjects.frames.pointee.freeFrames
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
  return check("no frame was lost", KernelObjects.frames.pointee.freeFrames == free) && passed
}
