// What workloads keep beside the processes that they run on: in the room that these have for it.

import KernelProcesses
import KernelStacks
import Synchronization

/// The state of the workload that runs.
///
/// What several CPUs change is guarded by the lock of the process table.
///
///     workloadRoom   | WorkloadState           | FrameWatch |
///                    0                      1,920        2,048
struct WorkloadState {
  /// What the first process notes.
  var record = ScenarioRecord()
  /// What the threads of a storm share.
  var storm = StormState()
  /// What threads of the kernel do.
  var program = ThreadProgramKind.rest
  var programSeed: UInt64 = 1
  /// How they have ended.
  var verdicts = ThreadVerdicts()
  /// How many tasks were about to leave their stacks.
  var overflowsProvoked = 0
  /// How deep children go.
  var stackDepths = StackDepths.typical
  var depthSeed: UInt64 = 1
}

extension Processes where Parts: ScenarioParts {
  private var watchOffset: Int { Self.workloadRoomBytes - 128 }

  /// Sets up the state of workloads, once, before the first of them.
  public borrowing func prepareWorkloads() {
    precondition(MemoryLayout<WorkloadState>.size <= watchOffset && MemoryLayout<FrameWatch>.size <= 128)
    workloadRoom.bindMemory(to: WorkloadState.self, capacity: 1).initialize(to: WorkloadState())
  }

  var workload: UnsafeMutablePointer<WorkloadState> { workloadRoom.assumingMemoryBound(to: WorkloadState.self) }

  /// The watch over frames, which begins when it is first asked for.
  ///
  /// From then on allocations are counted, until ``endWatch()``.
  public var frameWatch: UnsafeMutablePointer<FrameWatch> {
    if let watch = parts.watch { return watch }
    let watch = (workloadRoom + watchOffset).bindMemory(to: FrameWatch.self, capacity: 1)
    watch.initialize(to: FrameWatch())
    // Other CPUs that find it read what has been stored to it.
    atomicMemoryFence(ordering: .releasing)
    parts.watch = watch
    return watch
  }

  /// Ends the watch over frames, if there is one.
  public borrowing func endWatch() { parts.watch = nil }
}
