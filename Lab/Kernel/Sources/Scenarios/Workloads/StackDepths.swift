// How deep threads go into their kernel stacks: the figures that were published for real machines.

import KernelProcesses
import KernelStacks
import SeededRandom

/// How deep children go into their kernel stacks, where stacks grow; elsewhere all of a stack is proved.
public enum StackDepths: UInt8, Sendable {
  /// 97 of 100 stay within the first page, the others fill the whole stack.
  ///
  /// Source: the Dynamic Kernel Stacks RFC for Linux (2024-2026): 94 to 98 % of threads never pass 4 KiB.
  case typical
  /// All fill the whole stack.
  case full

  /// The name, as on command lines and in results.
  public var name: StaticString {
    switch self {
    case .typical: "typical"
    case .full: "full"
    }
  }
}

extension Processes where Parts: ScenarioParts {
  /// Chooses how deep children go from now on.
  public borrowing func setStackDepths(_ options: ScenarioOptions) {
    workload.pointee.stackDepths = options.stackDepths
    workload.pointee.depthSeed = options.seed
  }

  /// The part of its kernel stack that a process uses when it is told to prove it.
  ///
  /// The first process fills all of its stack.
  public borrowing func provenRange(of task: TaskPointer) -> StackBounds? {
    guard let range = task.pointee.stack?.usableRange else { return nil }
    guard stacks.configuration.strategy == .growing, workload.pointee.stackDepths == .typical, task != first
    else {
      return range
    }
    // Drawn by how many processes there are: as many forks, all alive together, need the same memory again.
    var random = SplitMix64(seed: workload.pointee.depthSeed &+ UInt64(processCount) &<< 32)
    return random.next(below: 100) < 97 ? StackBounds(base: (range.top - 1).pageBase, top: range.top) : range
  }
}
