// What workloads keep beside the processes that they run on: in the room that these have for it.

import KernelProcesses
import KernelStacks

/// The state of the workload that runs.
///
/// What several CPUs change is guarded by the lock of the process table.
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

extension Processes where F == ScenarioFrames<M> {
  /// Sets up the state of workloads, once, before the first of them.
  public borrowing func prepareWorkloads() {
    precondition(MemoryLayout<WorkloadState>.size <= Self.workloadRoomBytes)
    workloadRoom.bindMemory(to: WorkloadState.self, capacity: 1).initialize(to: WorkloadState())
  }

  var workload: UnsafeMutablePointer<WorkloadState> { workloadRoom.assumingMemoryBound(to: WorkloadState.self) }
}
