// What the first process notes while it runs, and what is measured at that moment.

import KernelProcesses
import KernelStacks
import UserPrograms

/// The notes of a run, and the figures taken at its first failure.
struct ScenarioRecord {
  /// The last value of each note, by its number.
  var notes = InlineArray<8, Int>(repeating: 0)
  /// How much work there is, for progress; 0 when it is not known.
  var total = 0
  /// What the work consists of.
  var unit: StaticString = "operations"
  /// Where the picture of memory at the first failure goes.
  var mapAtFailure: FrameMap?
  /// Free frames at the first failure, everything half-made undone and caches given back.
  var freeFramesAtFailure = 0
  /// The same when forks fail again after recovery.
  var freeFramesAtSecondFailure = 0
  /// Kernel stacks at the first failure, in bytes.
  var stackBytesAtFailure = 0
}

extension Processes where Parts: ScenarioParts {
  /// Takes what a process said with the system call `note`.
  ///
  /// - Parameters:
  ///   - kind: which note, as the process gave it; unknown ones are ignored.
  ///   - value: its value, as the process gave it; what is no count is ignored, so that what is made of counts cannot overflow.
  ///   - task: the process; only the first process's notes count.
  ///   - console: where progress goes.
  public borrowing func takeNote<Console: TextSink>(
    _ kind: Int, _ value: Int, from task: TaskPointer, console: Console
  ) {
    guard let note = Note(rawValue: kind), (0...Int(Int32.max)).contains(value), task == first else { return }
    switch note {
    case .progress:
      if workload.pointee.storm.total > 0 { return writeStormProgress(console) }
      writeProgress(value, of: workload.pointee.record.total, console: console)
    case .firstFailure:
      reclaim()
      workload.pointee.record.freeFramesAtFailure = frames.freeFrames
      workload.pointee.record.stackBytesAtFailure = kernelStackBytes
      if let map = workload.pointee.record.mapAtFailure { takeFrameMap(into: map) }
    case .forksAfterRecovery:
      reclaim()
      workload.pointee.record.freeFramesAtSecondFailure = frames.freeFrames
      workload.pointee.record.notes[kind] = value
    case .childrenOutOfMemory:
      workload.pointee.record.notes[kind] = min(workload.pointee.record.notes[kind] + value, Int(Int32.max))
    default:
      workload.pointee.record.notes[kind] = value
    }
  }

  /// Writes how far a scenario is, and what memory is like.
  borrowing func writeProgress<Console: TextSink>(_ done: Int, of total: Int, console: Console) {
    var json = JSONWriter(console)
    json.begin("progress")
    json.field("done", done)
    json.field("total", max(done, total))
    json.field("what", workload.pointee.record.unit)
    writeMemoryState(to: &json)
    json.end()
  }

  /// The memory behind kernel stacks that are in use, on all nodes, in bytes.
  public var kernelStackBytes: Int {
    var kibibytes = 0
    for node in 0..<frames.nodeCount { kibibytes += stacks.kernelStackKiB(on: NodeID(node)) }
    return kibibytes << 10
  }

  /// What was noted of `note`.
  func noted(_ note: Note) -> Int { workload.pointee.record.notes[note.rawValue] }
}
