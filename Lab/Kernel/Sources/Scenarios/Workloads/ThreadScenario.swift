// What all scenarios with threads of the kernel do: make them, wake them, look for what they leave behind.

import KernelProcesses
import KernelStacks
import SeededRandom

extension ScenarioHost {
  /// Makes threads that carry out their programs when they are woken.
  ///
  /// Progress is written now and then.
  ///
  /// - Throws: which step failed; the threads that were made stay.
  func makeThreads(
    _ count: Int, of total: Int, in processes: borrowing Processes<Parts>
  ) throws(KernelThreadError) {
    for _ in 0..<count {
      prepare(try processes.makeThread(), in: processes)
      let made = processes.threadFigures.made
      if made % 65536 == 0 { writeProgress(made, of: total, "threads") }
    }
  }

  /// Wakes the threads that are wanted, and waits until none is awake.
  ///
  /// - Returns: whether none is: otherwise nothing can run any more.
  func wakeThreads(
    in processes: borrowing Processes<Parts>, where isWanted: (KernelThreadPointer) -> Bool = { _ in true }
  ) -> Bool {
    processes.visitThreads()
    while processes.wakeNext(where: isWanted, resume: { resume($0, in: processes) }) {}
    return awaitThreads(in: processes)
  }

  /// Writes how far a scenario is.
  func writeProgress(_ done: Int, of total: Int, _ what: StaticString) {
    var json = JSONWriter(console)
    json.begin("progress")
    json.field("done", done)
    json.field("total", max(done, total))
    json.field("what", what)
    json.end()
  }
}

/// The state of memory before a scenario makes its first thread.
struct ThreadScenarioStart {
  let freeFrames: Int
  let stackBytes: Int

  init<Host: ScenarioHost>(_ processes: borrowing Processes<Host.Parts>, _ host: Host) {
    host.settle(processes)
    freeFrames = processes.frames.freeFrames
    stackBytes = processes.kernelStackBytes
  }

  /// How many frames are missing, all caches having been given back.
  func leakedFrames<Host: ScenarioHost>(_ processes: borrowing Processes<Host.Parts>, _ host: Host) -> Int {
    host.settle(processes)
    return freeFrames - processes.frames.freeFrames
  }

  /// Writes the error that no more threads can be made for, and takes the ones there are back.
  func abandon<Host: ScenarioHost>(
    _ error: KernelThreadError, in processes: borrowing Processes<Host.Parts>, host: Host
  ) -> Bool {
    writeError(error, to: host.console)
    processes.discardThreads()
    return false
  }
}

extension ScenarioChecks {
  /// Checks what must hold of all threads when the last of them has ended.
  mutating func checkThreads<Parts: ScenarioParts>(
    _ count: Int, in processes: borrowing Processes<Parts>, since start: ThreadScenarioStart, leaked: Int
  ) {
    let verdicts = processes.threadVerdicts
    check(
      "every thread ran to its end",
      processes.threadFigures.live == 0 && verdicts.intact + verdicts.damaged == count)
    check("every thread found all that it had left on its stack", verdicts.damaged == 0)
    check("no frame was lost", leaked == 0)
    check("no kernel stack was lost", processes.kernelStackBytes == start.stackBytes)
  }
}
