// The programs of the kernel's threads: a sequence of actions that follows from the seed and keeps within the stack.

import Scenarios
import Testing

@Suite struct ThreadProgramTests {
  /// All actions of a thread, as a machine would carry them out, with the bytes that each call takes beside the words.
  static func actions(
    _ kind: ThreadProgramKind, seed: UInt64, number: Int, stackBytes: Int, overhead: Int = 96
  ) throws -> (actions: [ThreadAction], deepest: Int) {
    var program = ThreadProgram(kind, seed: seed, number: number)
    var frames: [ThreadFrameSize] = []
    var left = stackBytes
    var actions: [ThreadAction] = []
    var lowest = left
    while actions.count < 100_000 {
      let action = program.next(bytesLeft: left)
      actions.append(action)
      switch action {
      case .enter(let size):
        frames.append(size)
        left -= size.byteCount + overhead
      case .leave:
        let size = frames.popLast()
        left += try #require(size, "no frame is left to leave").byteCount + overhead
      case .end:
        #expect(frames.isEmpty, "all frames have been left")
        return (actions, stackBytes - lowest)
      case .overflow:
        return (actions, stackBytes - lowest)
      case .ensure(let bytes, _): #expect(bytes >= 1024 && bytes % 16 == 0 && bytes <= left)
      case .yield, .sleep: break
      }
      #expect(program.depth == frames.count)
      lowest = min(lowest, left)
    }
    Issue.record("the program does not end")
    return (actions, stackBytes - lowest)
  }

  static let kinds: [ThreadProgramKind] = [.rest, .wander, .dive, .surge, .reckless, .sink, .turns]

  @Test(arguments: kinds, [8192, 12288, 16384, 24576])
  func `A program ends, leaves what it has entered, and keeps within the stack`(
    _ kind: ThreadProgramKind, _ stackBytes: Int
  ) throws {
    for number in 0..<500 {
      let (_, deepest) = try Self.actions(
        kind, seed: 7, number: number, stackBytes: stackBytes - 64, overhead: 384)
      #expect(deepest <= stackBytes - 64 - ThreadProgram.margin, "thread \(number)")
    }
  }

  @Test(arguments: kinds) func `The same seed and number give the same actions`(_ kind: ThreadProgramKind)
    throws
  {
    let one = try Self.actions(kind, seed: 3, number: 5, stackBytes: 16320).actions
    #expect(try Self.actions(kind, seed: 3, number: 5, stackBytes: 16320).actions == one)
    guard kind == .wander || kind == .surge else { return }
    #expect(try Self.actions(kind, seed: 4, number: 5, stackBytes: 16320).actions != one)
    #expect(try Self.actions(kind, seed: 3, number: 6, stackBytes: 16320).actions != one)
  }

  @Test func `A wandering thread goes everywhere, sleeps, yields, and asks for room`() throws {
    var seen: Set<String> = []
    var depths: Set<Int> = []
    for number in 0..<200 {
      let (actions, deepest) = try Self.actions(.wander, seed: 1, number: number, stackBytes: 16320)
      depths.insert(deepest / 4096)
      for action in actions { seen.insert("\(action)".prefix { $0 != "(" }.description) }
    }
    #expect(seen == ["enter", "leave", "yield", "sleep", "ensure", "end"])
    #expect(depths == [0, 1, 2, 3])
  }

  @Test func `The first reckless thread overflows, and about one of three others; the rest end`() throws {
    var overflowing = 0
    for number in 0..<300 {
      let last = try Self.actions(.reckless, seed: 1, number: number, stackBytes: 16320).actions.last
      if number == 0 { #expect(last == .overflow) }
      if last == .overflow { overflowing += 1 }
    }
    #expect((70...130).contains(overflowing))
  }

  @Test func `A surging thread sleeps only at the top of its stack`() throws {
    for number in 0..<200 {
      var depth = 0
      for action in try Self.actions(.surge, seed: 2, number: number, stackBytes: 16320).actions {
        switch action {
        case .enter: depth += 1
        case .leave: depth -= 1
        case .sleep: #expect(depth == 0)
        default: break
        }
      }
    }
  }

  @Test func `A sinking thread sleeps once, at the end of its stack`() throws {
    for number in 0..<100 {
      let (actions, deepest) = try Self.actions(.sink, seed: 2, number: number, stackBytes: 16320)
      #expect(actions.count { $0 == .sleep } == 1)
      #expect(deepest > 3 * 4096)
    }
  }

  @Test func `Of a hundred diving threads ninety-seven stay within the first page`() throws {
    var within = 0
    for number in 0..<10_000 {
      let deepest = try Self.actions(.dive, seed: 9, number: number, stackBytes: 16320).deepest
      if deepest < 4096 - 64 { within += 1 } else { #expect(deepest > 3 * 4096) }
    }
    #expect((9600...9800).contains(within))
  }

  @Test func `No two words of two threads' frames agree`() {
    var words: Set<UInt64> = []
    for owner in 0..<20 {
      for depth in 1...40 {
        let frame = ThreadFrame(owner: owner, depth: depth)
        for index in 0..<ThreadFrameSize.large.wordCount { words.insert(frame.word(index)) }
      }
    }
    #expect(words.count == 20 * 40 * ThreadFrameSize.large.wordCount)
  }
}
