// The programs by number. The first process gets its program's number as its first argument.

/// A program that the first process can run.
public enum UserProgram: UInt64, Sendable {
  /// Forks until a fork fails, with all children alive; then lets them end.
  case forkUntilFailure = 1
  /// Forks and lets children end, at random, for a number of operations.
  case forkChurn = 2
  /// Parent and child write to the same page and must not see each other's values.
  case isolation = 3
  /// Children read and write kernel memory and must be killed for it.
  case readKernelMemory = 4
  /// Parent and child compute side by side without a system call.
  case spin = 5
  /// A child's system call overflows its kernel stack; the child must die and the kernel go on.
  case overflowStack = 6
  /// Forks to exhaustion, lets all children end, and does both again.
  case exhaustAndRecover = 7
  /// Parent and child have their kernel stacks proven over and over.
  case proveStacks = 8
  /// Writes a line of text.
  case writeLine = 9
  /// Parent and children keep values in TPIDR_EL0.
  case keepThreadPointers = 11
  /// Children use what a process has no right to, and must be killed for it.
  case touchForbidden = 12
  /// Children write lines at the same time.
  case writeLines = 13
  /// Exits while a child computes: the kernel must stop.
  case leaveChild = 14
  /// Children fork and reap children of their own, all at the same time; the seed is how many.
  case forkAtOnce = 15
  /// Children prove their kernel stacks; some, chosen by the seed, then overflow theirs and must die; the others go on.
  case overflowAmongOthers = 10
}

/// The arguments of the first process, in x0 to x2.
public struct ProgramArguments: Sendable {
  /// The program.
  public var program: UserProgram
  /// The seed of its random decisions.
  public var seed: UInt64
  /// The number of operations, for programs that take one.
  public var operations: Int

  /// Makes the arguments for a program.
  public init(_ program: UserProgram, seed: UInt64 = 1, operations: Int = 0) {
    self.program = program
    self.seed = seed
    self.operations = operations
  }
}

/// Runs a program to its end, as the first process.
///
/// - Returns: the exit status: 0, or the number of the check that did not hold (see ``FailedCheck``).
public func runProgram<Kernel: SystemCalls>(_ arguments: ProgramArguments, on kernel: Kernel) -> Int {
  var succeeded = 0
  let failed =
    switch arguments.program {
    case .forkUntilFailure: forkUntilFailure(&succeeded, on: kernel)
    case .forkChurn: forkChurn(seed: arguments.seed, operations: arguments.operations, on: kernel)
    case .isolation: proveIsolation(on: kernel)
    case .readKernelMemory: readKernelMemory(on: kernel)
    case .spin: spin(rounds: arguments.operations, on: kernel)
    case .overflowStack: overflowStack(on: kernel)
    case .exhaustAndRecover: exhaustAndRecover(on: kernel)
    case .proveStacks: proveStacks(rounds: arguments.operations, on: kernel)
    case .writeLine: writeLine(on: kernel)
    case .keepThreadPointers: keepThreadPointers(rounds: arguments.operations, on: kernel)
    case .touchForbidden: touchForbidden(on: kernel)
    case .leaveChild: leaveChild(rounds: arguments.operations, on: kernel)
    case .writeLines: writeLines(rounds: arguments.operations, on: kernel)
    case .forkAtOnce:
      forkAtOnce(workers: max(1, Int(arguments.seed)), operations: arguments.operations, on: kernel)
    case .overflowAmongOthers:
      overflowAmongOthers(seed: arguments.seed, operations: arguments.operations, on: kernel)
    }
  return failed?.rawValue ?? 0
}
