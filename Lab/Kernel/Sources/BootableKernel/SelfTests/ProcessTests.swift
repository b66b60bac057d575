// Self-tests of the isolation of processes, and of threads that lose dead pages to others.
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios
import Synchronization
import UserPrograms

/// Checks that no process sees another's value in TPIDR_EL0, or one from before.
func testThreadPointers() -> Bool {
  ca_write_tpidr_el0(0x5eed)
  return runProgram(.keepThreadPointers, operations: 200_000)
}

private let openCPUs = Atomic<UInt64>(0)

/// Counts the current CPU if its registers let EL0 use counters, timers, floating point or the debug channel.
private func lookForOpenings() {
  let isClosed =
    ca_read_cntkctl_el1() & 0x303 == 0 && ca_read_cpacr_el1() & 0x333_0000 == 0
    // TDCC; UMA, DZE, UCT, nTWI, nTWE, UCI; EnTP2
    && ca_read_mdscr_el1() & 1 << 12 != 0 && ca_read_sctlr_el1() & 0x1000_0000_0405_c200 == 0
  if !isClosed { openCPUs.wrappingAdd(1, ordering: .relaxed) }
}

/// Checks that processes that use counters, timers, floating point, interrupt masks or caches end, on every CPU.
func testForbidden() -> Bool {
  let state = ca_disable_interrupts()
  lookForOpenings()
  ca_restore_interrupts(state)
  callOnOtherCPUs({ _ in lookForOpenings() }, 0)
  let passed = check("EL0 is shut out by every CPU's registers", openCPUs.load(ordering: .relaxed) == 0)
  return runProgram(.touchForbidden) && passed
}

private let lostProofs = Atomic<Int>(0)

// During a proof a thread keeps its pages; between two proofs, only its first page.
private func proveOften() {
  for round in 1...1000 {
    if !proveStack(downTo: Thread.current.pointee.stackBase, owner: UInt64(round)) {
      lostProofs.wrappingAdd(1, ordering: .relaxed)
    }
    Scheduler.yield()
  }
}

/// Runs threads that use all of their stacks over and over, with frames for the stacks of two: the third waits for a refill,
/// which takes the dead pages of ready threads.
func testProofsUnderPressure() -> Bool {
  let processes = KernelObjects.processes
  let count = 3 * AArch64().cpuCount
  processes.pointee.beginThreads(.rest, seed: 1)
  do {
    for _ in 0..<count {
      prepareKernelThread(try processes.pointee.makeThread(), body: { _ in proveOften() })
    }
  } catch { fail("thread", error) }
  // Reserves are full, and CPUs have no free frames of their own, before all other frames are taken.
  processes.pointee.settle()
  let state = ca_disable_interrupts()
  while (try? KernelObjects.frames.pointee.allocate(FrameRequest(purpose: .other))) != nil {}
  let before = KernelObjects.stacks.pointee.grownPageCount
  processes.pointee.visitThreads()
  while processes.pointee.wakeNext(where: { _ in true }, resume: { wakeKernelThread($0) }) {}
  ca_restore_interrupts(state)
  awaitThreads()
  let grown = KernelObjects.stacks.pointee.grownPageCount - before
  let most = count * (KernelObjects.stacks.pointee.geometry.pageCount - 1)
  let passed = check(
    "every thread found all that it had left on its stack", lostProofs.load(ordering: .relaxed) == 0)
  return check("pages of threads that were ready were taken, and grew again", grown > most) && passed
}
