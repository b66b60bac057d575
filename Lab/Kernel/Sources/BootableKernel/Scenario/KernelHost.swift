// The kernel as a host of scenarios: the console, the program, threads, and a way to run a process.
import AArch64Machine
import CAArch64
import DeviceTree
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios
import UserPrograms

/// The bootable kernel as the host of scenarios.
struct KernelHost: ScenarioHost {
  typealias Parts = KernelSite
  typealias Console = BootableKernel.Console

  let programImage: ProgramImage

  var console: Console { Console() }
  var machineName: StaticString { "qemu" }
  var userInvalidations: Int { Int(AArch64().userInvalidations) }
  var lockWaits: LockWaitTable { readLockWaits() }
  var agingInvalidations: Int { BootableKernel.agingInvalidations }

  /// Runs the first process until it has ended; the boot task waits.
  func run(_ first: TaskPointer, _ arguments: ProgramArguments, in processes: borrowing Processes<KernelSite>) {
    var frame = kernel_frame()
    frame.x.0 = arguments.program.rawValue
    frame.x.1 = arguments.seed
    frame.x.2 = UInt64(arguments.operations)
    frame.sp = UInt64(programImage.stackTop.rawValue)
    frame.elr = UInt64(programImage.entry.rawValue)
    frame.spsr = 0  // EL0t, interrupts on
    synchronizeCode(of: first)
    prepareProcess(first, frame)
    startProcess(first)
    let state = ca_disable_interrupts()
    while first.pointee.state != .zombie { Scheduler.wait() }
    ca_restore_interrupts(state)
    // A child left running would use memory that the scenario takes back.
    if processes.canAnyRun() { fail("the first process has ended while another can run") }
  }

  func prepare(_ thread: KernelThreadPointer, in processes: borrowing Processes<KernelSite>) {
    prepareKernelThread(thread, body: { runThreadProgram($0) })
  }

  func prepareStorm(_ thread: KernelThreadPointer, in processes: borrowing Processes<KernelSite>) {
    prepareKernelThread(thread, body: { runStormThread($0) })
  }

  func bringOnline(_ number: Int, in processes: borrowing Processes<KernelSite>) -> Bool {
    BootableKernel.bringOnline(number)
  }

  func resume(_ thread: KernelThreadPointer, in processes: borrowing Processes<KernelSite>) {
    wakeKernelThread(thread)
  }

  /// Waits until no thread is awake; the boot task waits.
  func awaitThreads(in processes: borrowing Processes<KernelSite>) -> Bool {
    let state = ca_disable_interrupts()
    while processes.threadFigures.awake > 0 { Scheduler.wait() }
    ca_restore_interrupts(state)
    return true
  }

  var usableCPUs: Int { AArch64().cpuCount }

  func runOnEachCPU(_ count: Int, in processes: borrowing Processes<KernelSite>, _ work: CPUWork<KernelSite>) {
    var work = work
    withUnsafeMutablePointer(to: &work) {
      runOnIdleThreads(firstCPUs(count), { carryOutWork($0) }, UInt(bitPattern: $0))
    }
  }

  func modelled(operations: Int, _ body: () -> Void) -> Int { modelRun(of: operations, body) }

  func letThreadsRun(in processes: borrowing Processes<KernelSite>) { Scheduler.yield() }

  func settle(_ processes: borrowing Processes<KernelSite>) { processes.settle() }
}

// Runs in an idle thread, which never moves: its CPU's number does not change.
private func carryOutWork(_ address: UInt) {
  guard let work = UnsafeMutablePointer<CPUWork<KernelSite>>(bitPattern: address) else { return }
  work.pointee.carryOut(AArch64().currentCPU, in: KernelObjects.processes.pointee)
}

// The program's code was written as data through the linear map.
private func synchronizeCode(of task: TaskPointer) {
  let machine = AArch64()
  let tables = TranslationTables(root: task.pointee.addressSpaceRoot, machine: machine)
  let image = VirtualAddressRange(VirtualAddress(0), VirtualAddress(1 << UInt(machine.virtualAddressBits)))
  tables.visitLeaves(in: image) { leaf in
    guard leaf.entry.isUserExecutable else { return }
    ca_synchronize_instructions(machine.linearAddress(of: leaf.entry.frame).rawValue, UInt64(leaf.byteCount))
  }
}

nonisolated(unsafe) private var overflowScenario: ScenarioOptions?

/// Writes the result of the scenario `overflow`, if that is running, before the panic that it leads to.
func writeLateOverflowResult() {
  guard let options = overflowScenario else { return }
  writeLateOverflow(
    options, machine: "qemu", in: KernelObjects.processes.pointee, to: Console())
}

/// Runs the scenario, benchmark or self-test of the command line, and ends the machine.
func runScenario(_ options: KernelOptions) -> Never {
  if options.scenario.scenario.isModelled, options.selfTest == nil { attachMemoryModel() }
  if options.isBenchmark {
    if !AArch64().countsInstructions { fail("this CPU counts no instructions (FEAT_PMUv3)") }
    if options.countsCycles { AArch64().startCycleCounter() }
    var passed = runStackBenchmark(
      options.scenario, stacks: KernelObjects.bareStacks.pointee, console: Console())
    if options.scenario.strategy == .growing { passed = runFaultBenchmark() && passed }
    passed = runAllCPUBenchmark(options.scenario.strategy) && passed
    passed = runCPUCountBenchmark(options.scenario.strategy) && passed
    passed = runYardstick(options.scenario.strategy, KernelObjects.bareStacks.pointee) && passed
    exitMachine(passed ? .success : .failure)
  }
  let processes = KernelObjects.processes
  if let test = options.selfTest { exitMachine(test.run() ? .success : .failure) }
  let host: KernelHost
  do {
    host = KernelHost(programImage: try loadProgram(KernelObjects.board.pointee.initialRAMDisk))
  } catch {
    fail("EL0 program", error)
  }
  if options.scenario.scenario == .overflow { overflowScenario = options.scenario }
  let passed = Scenarios.runScenario(options.scenario, in: processes.pointee, host: host)
  exitMachine(passed ? .success : .failure)
}
