// What threads of the kernel do, and whether they found on their stacks what they had left there.

import KernelProcesses
import KernelStacks

/// Counts of threads by how they ended, since ``Processes/beginThreads(_:seed:)``.
public struct ThreadVerdicts: Sendable {
  /// How many found all that they had left on their stacks.
  public internal(set) var intact = 0
  /// How many found something else on their stacks.
  public internal(set) var damaged = 0
  /// How many had begun, or been woken, less than twice.
  public internal(set) var wokenOnce = 0
}

extension Processes where Parts: ScenarioParts {
  /// How threads have ended.
  public var threadVerdicts: ThreadVerdicts { workload.pointee.verdicts }

  /// Starts counting threads anew, and says what they do from now on.
  ///
  /// There is no thread.
  public borrowing func beginThreads(_ program: ThreadProgramKind, seed: UInt64) {
    resetThreadFigures()
    workload.pointee.verdicts = ThreadVerdicts()
    workload.pointee.program = program
    workload.pointee.programSeed = seed
  }

  /// What a thread is to do, from its beginning.
  public borrowing func threadProgram(of thread: KernelThreadPointer) -> ThreadProgram {
    ThreadProgram(
      workload.pointee.program, seed: workload.pointee.programSeed, number: Int(thread.pointee.number))
  }

  /// Notes whether a thread that is about to end has found all that it had left on its stack.
  public borrowing func threadEnds(_ thread: KernelThreadPointer, intact: Bool) {
    locked {
      if intact {
        workload.pointee.verdicts.intact &+= 1
      } else {
        workload.pointee.verdicts.damaged &+= 1
      }
      if thread.pointee.wakeCount < 2 { workload.pointee.verdicts.wokenOnce &+= 1 }
    }
  }
}
