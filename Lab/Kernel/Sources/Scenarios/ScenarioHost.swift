// What differs between the machines that run scenarios: where text goes, and how a process is run.

import KernelProcesses
import KernelStacks
import UserPrograms

/// A machine's surroundings, as a scenario needs them.
///
/// A handle, cheap to copy.
public protocol ScenarioHost {
  /// The parts of its kernel.
  associatedtype Parts: ScenarioParts
  /// The machine.
  typealias M = Parts.M
  /// Where lines of JSON go.
  associatedtype Console: TextSink

  /// The console; each value that is given out writes to the same place.
  var console: Console { get }

  /// The machine's name in results: `qemu` or `simulated`.
  var machineName: StaticString { get }

  /// The program that the first process runs.
  var programImage: ProgramImage { get }

  /// Completed batches of TLB invalidation of processes' addresses; ``MachineCounters`` counts those of the kernel's.
  var userInvalidations: Int { get }

  /// Those invalidations of kernel addresses that ``ThreadStackAllocator/age()`` has issued.
  ///
  /// A clock calls it, so how many they are depends on how much time has passed, and on nothing else that a scenario does.
  var agingInvalidations: Int { get }

  /// How often CPUs have waited for locks, and for how long.
  var lockWaits: LockWaitTable { get }

  /// Pages that were lent and stayed with their stacks though nothing of a thread's had touched them: a CPU had touched them,
  /// or one below, by speculation.
  ///
  /// `nil` on a machine that cannot know.
  var pagesKeptUntouched: Int? { get }

  /// Runs the first process, with all that it forks, until it has ended.
  ///
  /// `first` is ``TaskState/created``; the program gets the arguments in x0 to x2. On return it is
  /// ``TaskState/zombie``, ``Processes/hasStopped(_:)`` having been called, and nothing runs in any process.
  func run(_ first: TaskPointer, _ arguments: ProgramArguments, in processes: borrowing Processes<Parts>)

  /// Fills in the registers of a new thread of the kernel, which will carry out
  /// ``Processes/threadProgram(of:)`` on its own stack.
  func prepare(_ thread: KernelThreadPointer, in processes: borrowing Processes<Parts>)

  /// Fills in the registers of a new thread of the scenario `smp-storm`, which will carry out a ``StormProgram``.
  func prepareStorm(_ thread: KernelThreadPointer, in processes: borrowing Processes<Parts>)

  /// Brings a CPU back that a thread of the scenario `smp-storm` has taken offline.
  ///
  /// - Returns: whether it did.
  func bringOnline(_ number: Int, in processes: borrowing Processes<Parts>) -> Bool

  /// Runs the first process as ``run(_:_:in:)`` does; threads that can run do so at the same time.
  func runBesideThreads(
    _ first: TaskPointer, _ arguments: ProgramArguments, in processes: borrowing Processes<Parts>)

  /// Lets a thread run that has been counted as awake: for the first time, or on from where it sleeps.
  func resume(_ thread: KernelThreadPointer, in processes: borrowing Processes<Parts>)

  /// Runs threads until none is awake.
  ///
  /// - Returns: whether none is; a machine that cannot go on when nothing can run does not return then.
  @discardableResult func awaitThreads(in processes: borrowing Processes<Parts>) -> Bool

  /// Lets threads run for a while.
  func letThreadsRun(in processes: borrowing Processes<Parts>)

  /// Has a memory model watch while `body` runs, if there is one.
  ///
  /// - Parameter operations: how many operations `body` is.
  /// - Returns: their number in the model; 0 without one.
  func modelled(operations: Int, _ body: () -> Void) -> Int

  /// Does what ``Processes/settle()`` does, on every CPU.
  func settle(_ processes: borrowing Processes<Parts>)

  /// Whether the kernel has come to its end because of an overflow that was found late.
  ///
  /// A machine that really ends then never answers.
  var hasPanicked: Bool { get }

  /// How many CPUs ``runOnEachCPU(_:in:_:)`` can use.
  var usableCPUs: Int { get }

  /// Has CPUs 0 to `count - 1` do their parts of the work at once, and waits until all have.
  func runOnEachCPU(_ count: Int, in processes: borrowing Processes<Parts>, _ work: CPUWork<Parts>)
}

extension ScenarioHost {
  /// None: on a machine whose CPUs wait by handing over to each other.
  public var lockWaits: LockWaitTable { LockWaitTable() }

  /// Hardware does not tell.
  public var pagesKeptUntouched: Int? { nil }

  /// No model watches.
  public func modelled(operations: Int, _ body: () -> Void) -> Int {
    body()
    return 0
  }

  /// It goes on.
  public var hasPanicked: Bool { false }

  /// On a machine where all that can run runs at the same time.
  public func runBesideThreads(
    _ first: TaskPointer, _ arguments: ProgramArguments, in processes: borrowing Processes<Parts>
  ) {
    run(first, arguments, in: processes)
  }
}

/// Runs the scenario that the options name, all but ``ScenarioName/bench``, and writes its result to the console.
///
/// - Parameters:
///   - options: which scenario, and how.
///   - processes: set up with the stacks that the options ask for; no process exists.
///   - host: the machine's surroundings.
/// - Returns: whether the scenario ran and its checks held.
public func runScenario<Host: ScenarioHost>(
  _ options: ScenarioOptions, in processes: borrowing Processes<Host.Parts>, host: Host
) -> Bool {
  processes.setStackDepths(options)
  return switch options.scenario {
  case .fragmentedFork: runFragmentedFork(options, in: processes, host: host)
  case .forkChurn: runProgramScenario(.forkChurn, options, in: processes, host: host)
  case .forksAtOnce: runProgramScenario(.forkAtOnce, options, in: processes, host: host)
  case .exhaustion: runExhaustion(options, in: processes, host: host)
  case .recovery: runProgramScenario(.exhaustAndRecover, options, in: processes, host: host)
  case .isolation: runProgramScenario(.isolation, options, in: processes, host: host)
  case .kernelMemory: runProgramScenario(.readKernelMemory, options, in: processes, host: host)
  case .deepRecursion: runDeepRecursion(options, in: processes, host: host)
  case .millionThreads: runMillionThreads(options, in: processes, host: host)
  case .overflow: runOverflow(options, in: processes, host: host)
  case .vmallocSuite: runVmallocSuite(options, in: processes, host: host)
  case .stackDepths: runStackDepths(options, in: processes, host: host)
  case .pressure: runPressure(options, in: processes, host: host)
  case .smpStorm: runSMPStorm(options, in: processes, host: host)
  case .switching: runSwitching(options, in: processes, host: host)
  case .bench: false
  }
}

/// Writes an error that ends a scenario: `{"type":"error","message":"…"}`.
public func writeError<Console: TextSink, Problem: TextDescribable>(_ problem: Problem, to console: Console) {
  var json = JSONWriter(console)
  json.begin("error")
  json.field("message", describing: problem)
  json.end()
}

/// The checks of a scenario: each is written as a line, and all must hold.
struct ScenarioChecks<Console: TextSink> {
  private var json: JSONWriter<Console>
  /// Whether all checks so far held.
  private(set) var allHeld = true

  init(_ console: Console) { json = JSONWriter(console) }

  mutating func check(_ name: StaticString, _ passed: Bool) {
    json.begin("check")
    json.field("name", name)
    json.field("passed", passed)
    json.end()
    if !passed { allHeld = false }
  }
}

extension JSONWriter {
  /// Writes the keys that all results begin with, and what is known of lent pages.
  mutating func beginResult<Host: ScenarioHost>(
    _ options: ScenarioOptions, _ host: Host, in processes: borrowing Processes<Host.Parts>
  ) {
    beginResult(options, machine: host.machineName, in: processes)
    guard options.growth == .lent else { return }
    field("growth", "lent")
    if let count = host.pagesKeptUntouched { field("pagesKeptUntouched", count) }
  }

  /// Writes the keys that all results begin with.
  mutating func beginResult<Parts: ScenarioParts>(
    _ options: ScenarioOptions, machine: StaticString, in processes: borrowing Processes<Parts>
  ) {
    begin("result")
    field("scenario", options.scenario.name)
    field("machine", machine)
    field("strategy", options.strategy.name)
    field("seed", options.seed)
    field("memoryBytes", processes.memoryFrames * pageSize)
    field("addressBits", options.virtualAddressBits)
    field("stackSizeBytes", options.stackSize)
  }
}
