// The trace of free frames on simulated CPUs, seen from outside: the allocator's state is compared before each call into
// the machine, and each change is a step of `verify/frames.pml`.

import KernelStacks
import TestSupport

@testable import KernelPageFrames
@testable import SimulatedMachine

/// The place of every frame, and the counts.
struct FramePlaces {
  enum Place: Equatable {
    case block, used
    /// In a CPU's hands: popped, about to be pushed, or being cleared.
    case inHand
    /// In the list with this number: two for each CPU, ready and zeroed, then the pool.
    case list(Int)
  }
  var places: [Place] = []
  var lists: [[Int]] = []
  var clearing = 0
  var pauses = 0
  var freeFrames = 0

  init(_ frames: borrowing BuddyAllocator<Watched>) {
    let node = FreeLists(records: frames.records, node: frames.nodes)
    var words: [FrameListWord] = []
    for cpu in 0..<frames.listedCPUs {
      words.append(frames.cpuLists[cpu].ready.value)
      words.append(frames.cpuLists[cpu].zeroed.value)
    }
    words.append(node.zeroedPool)
    // The state of a block's first frame is that of all its frames.
    var index = 0
    while index < frames.totalFrames {
      let tag = frames.records[index].tag
      let place: Place =
        tag.state == FrameState.free ? .block : tag.state == FrameState.used ? .used : .inHand
      for _ in 0..<1 << tag.order { places.append(place) }
      index = places.count
    }
    for (number, word) in words.enumerated() {
      var chain: [Int] = []
      var frame = word.first
      for _ in 0..<word.count {
        chain.append(Int(frame))
        places[Int(frame)] = .list(number)
        frame = frames.records[Int(frame)].next
      }
      lists.append(chain)
    }
    clearing = node.node.pointee.clearing
    pauses = node.node.pointee.pauses
    freeFrames = node.node.pointee.freeFrames
  }
}

/// The steps, as input of `verify/clearing-replay.pml`.
final class ClearingTrace: @unchecked Sendable {
  /// One event; `verify/clearing-replay.pml` explains its letter.
  struct Event {
    var letter: Character
    var line: String
  }
  private(set) var events: [Event] = []
  private let simulation: Simulation
  private let firstFrame: UInt
  private var look: (() -> FramePlaces)?
  private var last: FramePlaces?

  /// - Parameter firstFrame: the frame from which frames are counted.
  init(_ simulation: Simulation, firstFrame: PageFrame) {
    self.simulation = simulation
    self.firstFrame = firstFrame.number
  }

  /// Begins the trace, with the allocator as it is then.
  ///
  /// - Parameters:
  ///   - watch: the hooks of the allocator's machine. No other CPU acts between two calls of one CPU.
  ///   - look: reads the state of the allocator.
  func begin(_ watch: Watch, look: @escaping () -> FramePlaces) {
    self.look = look
    last = look()
    watch.beforeOthers = { [unowned self] in noteUnlocked() }
    watch.beforeUnlock = { [unowned self] in noteSection() }
    watch.beforeClear = { [unowned self] address in
      noteUnlocked()
      note(
        "C", simulation.running, 0,
        index(of: PhysicalAddress(address.rawValue - simulation.split.linearBase).frame))
    }
  }

  /// Records that a frame has been handed out and is about to be written to.
  func noteObtained(_ frame: PageFrame, cleared: Bool) {
    noteUnlocked()
    note("o", simulation.running, cleared ? 1 : 0, index(of: frame))
  }

  private func index(of frame: PageFrame) -> Int { Int(frame.number - firstFrame) }

  /// The trace as the replay reads it, without some events.
  func input(without dropped: Int? = nil) -> String {
    events.indices.filter { $0 != dropped }.map { events[$0].line + "\n" }.joined() + "Z\n"
  }

  private func note(_ letter: Character, _ cpu: Int, _ first: Int = 0, _ second: Int = 0, frames: [Int] = []) {
    let digits = ([cpu, first, second] + frames).map { value in
      String([value / 16, value % 16].map { Character(Unicode.Scalar(UInt8(48 + $0))) })
    }
    events.append(Event(letter: letter, line: String(letter) + digits.joined()))
  }

  /// Ends the trace with the place of every frame.
  func noteEnd() {
    guard let (_, new) = compare() else { return }
    for (number, list) in new.lists.enumerated() { note("Q", 0, number, list.count) }
    note("N", 0, 0, new.freeFrames)
  }

  private func compare() -> (FramePlaces, FramePlaces)? {
    guard let new = look?() else { return nil }
    defer { last = new }
    return last.map { ($0, new) }
  }

  /// Records changes without the lock: of the CPU's own lists, and of the tags of frames that it owns.
  func noteUnlocked() {
    guard let (old, new) = compare() else { return }
    let cpu = simulation.running
    let changed = old.places.indices.filter { old.places[$0] != new.places[$0] }
    for frame in changed where old.places[frame] == .used { note("g", cpu, 0, frame) }
    for list in [2 * cpu, 2 * cpu + 1] {
      for frame in old.lists[list] where new.places[frame] != .list(list) { note("p", cpu, list, frame) }
      for frame in new.lists[list] where old.places[frame] != .list(list) { note("u", cpu, list, frame) }
    }
    for frame in changed where new.places[frame] == .used { note("h", cpu, 0, frame) }
  }

  /// Records a section under the lock: one function of the allocator, recognised by the frames that it has moved.
  private func noteSection() {
    guard let (old, new) = compare() else { return }
    let cpu = simulation.running
    let changed = old.places.indices.filter { old.places[$0] != new.places[$0] }
    let used = changed.filter { new.places[$0] == .used }
    let sources = Set(
      changed.compactMap { frame -> Int? in
        if case .list(let list) = old.places[frame] { list == 2 * listedCPUs(new) ? -1 : list / 2 } else { nil }
      })
    if new.clearing > old.clearing {
      note("S", cpu, 0, changed[0])
    } else if new.clearing < old.clearing {
      note("E", cpu, 0, changed[0])
    } else if new.pauses != old.pauses {
      note(new.pauses > old.pauses ? "B" : "R", cpu)
    } else if changed.isEmpty {
      note("b", cpu)
    } else if old.places[changed[0]] == .used {
      note("L", cpu, 0, changed[0])
    } else if sources.count > 1 || !sources.isEmpty && !used.isEmpty {
      note("T", cpu, used.count == 2 ? 1 : 0, used.first ?? 255)
    } else if !used.isEmpty {
      note("K", cpu, used.count - 1, used[0])
    } else if changed.allSatisfy({ new.places[$0] == .list(2 * cpu) }) {
      let added = Array(new.lists[2 * cpu].prefix(changed.count).reversed())
      note("F", cpu, added.count, 0, frames: added)
      return
    } else if changed.allSatisfy({ new.places[$0] == .list(2 * cpu + 1) }) {
      note("Y", cpu)
    } else if sources == [-1] {
      note("D", cpu)
    } else if sources == [cpu], !new.lists[2 * cpu].isEmpty {
      note("G", cpu, changed.count)
    } else {
      note("J", cpu, sources.first ?? 0)
    }
    // The tags of frames that are handed out under the lock say so at once.
    if !used.isEmpty { note("h", cpu, used.count - 1, used[0]) }
    if used.count == 2 { note("h", cpu, 1, used[1]) }
  }

  private func listedCPUs(_ places: FramePlaces) -> Int { places.lists.count / 2 }
}
