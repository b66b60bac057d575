// The trace of a simulated run, in the order of its events, and as input of the model's replay.

import KernelStacks

/// The events of the scheduler and its threads.
final class SchedulerTrace: @unchecked Sendable {
  enum Entry {
    case event(SchedulerEvent)
    /// A thread is about to leave its CPU with its stack pointer in this page, counted from the top: 1 is the first.
    case depth(thread: Int, pages: Int)
  }
  private(set) var entries: [Entry] = []

  func append(_ entry: Entry) { entries.append(entry) }

  /// The number of events of a kind.
  func count(of kind: SchedulerEvent.Kind) -> Int { events(kind).count }

  /// The indices of events of a kind.
  func events(_ kind: SchedulerEvent.Kind) -> [Int] {
    entries.indices.filter { if case .event(let event) = entries[$0] { event.kind == kind } else { false } }
  }

  /// Whether an entry records a change: a search for pages can be in vain.
  func isSubstantial(_ index: Int) -> Bool {
    guard case .event(let event) = entries[index] else { return false }
    return ![.retire, .release, .putBack].contains(event.kind) || event.count > 0
  }

  /// The same trace without one entry.
  func without(_ index: Int) -> SchedulerTrace {
    let copy = SchedulerTrace()
    copy.entries = entries
    copy.entries.remove(at: index)
    return copy
  }
}

/// The receiver of a scheduler's events, which writes them into a trace.
struct TraceEvents: SchedulerEvents {
  let trace: SchedulerTrace

  static var isListening: Bool { true }
  func note(_ event: SchedulerEvent) { trace.append(.event(event)) }
}

/// The frames of the CPUs and stacks at one moment.
struct FrameCounts: Equatable {
  /// In each CPU's reserve.
  var reserves: [Int]
  /// Mapped behind each thread's stack.
  var mapped: [Int]
}

/// Turns a trace into transitions of `verify/reserve.pml`, coded for `verify/replay.pml`.
///
/// Most events are one transition. Two transitions are not in a trace, and follow from later events: that a thread which
/// its CPU leaves is ready again, and that a thread was woken while it was claimed.
struct ReplayInput {
  private let entries: [SchedulerTrace.Entry]
  private var text = ""
  private var current: [Int?]
  /// The CPU in whose queue a thread is when it is ready.
  private var home: [Int]
  private var pages: [Int]
  private var isAsleepEarly: [Bool]

  /// - Parameters:
  ///   - before: the frames at the beginning: every thread is ready, in the queue of CPU `thread % cpuCount`.
  ///   - after: the frames at the end.
  static func make(_ trace: SchedulerTrace, before: FrameCounts, after: FrameCounts) -> String {
    var input = Self(trace.entries, cpuCount: before.reserves.count, threadCount: before.mapped.count)
    for (cpu, count) in before.reserves.enumerated() { input.emit("F", cpu, 0, count) }
    for index in trace.entries.indices { input.translate(index) }
    for (cpu, count) in after.reserves.enumerated() { input.emit("Q", cpu, 0, count) }
    for (thread, count) in after.mapped.enumerated() { input.emit("M", 0, thread, count) }
    return input.text + "Z\n"
  }

  private init(_ entries: [SchedulerTrace.Entry], cpuCount: Int, threadCount: Int) {
    self.entries = entries
    current = Array(repeating: nil, count: cpuCount)
    home = (0..<threadCount).map { $0 % cpuCount }
    pages = Array(repeating: 1, count: threadCount)
    isAsleepEarly = Array(repeating: false, count: threadCount)
  }

  private mutating func emit(_ letter: Character, _ cpu: Int, _ thread: Int, _ count: Int) {
    text.append(letter)
    for value in [cpu, thread, count] { text.unicodeScalars.append(Unicode.Scalar(UInt8(48 + value))) }
    text.append("\n")
  }

  private mutating func translate(_ index: Int) {
    guard case .event(let event) = entries[index] else {
      if case .depth(let thread, let pages) = entries[index] { self.pages[thread] = pages }
      return
    }
    let (cpu, thread, count) = (event.cpu, event.thread, event.count)
    switch event.kind {
    case .consider:
      // A CPU that takes it from a queue knows that its former CPU has left it.
      if let former = current.firstIndex(of: thread) { leave(former, asleep: false) }
      emit("C", cpu, thread, home[thread])
      emit("A", cpu, thread, count)
    case .refill: emit("R", cpu, thread, count)
    case .putOff: emit("O", cpu, thread, 0)
    case .waitForRefill:
      emit("O", cpu, thread, 0)
      home[thread] = cpu
    case .switchIn:
      if let left = current[cpu] { leave(cpu, asleep: sleepsNext(left, after: index)) }
      emit("S", cpu, thread, 0)
      current[cpu] = thread
      home[thread] = cpu
    case .sleep:
      if isAsleepEarly[thread] {
        isAsleepEarly[thread] = false
      } else {
        emit("D", cpu, thread, pages[thread])
        current[cpu] = nil
      }
    case .giveBackReserve:
      if let left = current[cpu] { leave(cpu, asleep: sleepsNext(left, after: index)) }
      emit("I", cpu, 0, count)
    case .wake:
      if !wasWokenWhileClaimed(index) { emit("W", home[thread], thread, 0) }
    case .grow: emit("G", cpu, thread, count)
    case .claim:
      // Or from the list of those that are ready: then, too, its CPU has left it.
      if let former = current.firstIndex(of: thread) { leave(former, asleep: false) }
      emit("K", cpu, thread, 0)
    case .retire: emit("E", cpu, thread, count)
    case .invalidateDone: emit("V", cpu, 0, 0)
    case .release: emit("X", cpu, thread, count)
    case .putBack: emit("P", cpu, thread, count)
    case .unclaim:
      if wasWokenWhileClaimed(index + 1) { emit("W", home[thread], thread, 0) }
      emit("U", home[thread], thread, 0)
    case .stall: break
    case .exit, .free: fatalError("the model's threads live for ever")
    }
  }

  /// Records that a CPU has left its thread, which is asleep or ready.
  private mutating func leave(_ cpu: Int, asleep: Bool) {
    let thread = current[cpu]!
    emit(asleep ? "D" : "L", cpu, thread, pages[thread])
    isAsleepEarly[thread] = asleep
    current[cpu] = nil
  }

  private func sleepsNext(_ thread: Int, after index: Int) -> Bool {
    for entry in entries[(index + 1)...] {
      if case .event(let event) = entry, event.thread == thread, event.kind != .invalidateDone,
        event.kind != .giveBackReserve, event.kind != .stall
      {
        return event.kind == .sleep
      }
    }
    return false
  }

  /// Whether an entry is the wake-up of a thread whose claim has just ended, in one step with it.
  private func wasWokenWhileClaimed(_ index: Int) -> Bool {
    guard entries.indices.contains(index), index > 0, case .event(let wake) = entries[index],
      wake.kind == .wake,
      case .event(let unclaim) = entries[index - 1], unclaim.kind == .unclaim
    else { return false }
    return wake.thread == unclaim.thread
  }
}
