// Maps of memory: the drawing agrees with the frames.

import ImageTools
import Testing

@testable import Figures

/// The cells that a path of `M`, `m` and `h` covers, which must not overlap.
func cellsCovered(_ path: String, columns: Int) -> Set<Int>? {
  var cells: Set<Int> = []
  var (row, column) = (0, 0)
  var rest = Substring(path)
  func number() -> Int? {
    let digits = rest.prefix { $0.isNumber }
    rest = rest.dropFirst(digits.count)
    return Int(digits)
  }
  while let command = rest.first {
    rest = rest.dropFirst()
    guard let first = number() else { return nil }
    switch command {
    case "M":
      guard rest.first == " " else { return nil }
      rest = rest.dropFirst()
      guard let second = number(), rest.hasPrefix(".5") else { return nil }
      rest = rest.dropFirst(2)
      (row, column) = (second, first)
    case "m":
      guard rest.hasPrefix(" 0") else { return nil }
      rest = rest.dropFirst(2)
      column += first
    case "h":
      for cell in column..<column + first {
        guard cell < columns, cells.insert(row * columns + cell).inserted else { return nil }
      }
      column += first
    default: return nil
    }
  }
  return cells
}

@Suite struct MemoryMapTests {
  /// A map of fragmented memory, from a seed.
  static func map(frames: Int, seed: UInt64) -> FrameMap {
    var state = seed
    func next(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    var text = "", last: Character = "x", count = 0
    while count < frames {
      let letter = Array("rfbsuptvm").filter { $0 != last }[next(8)]
      let length = min(frames - count, next(10) == 0 ? 1 + next(700) : 1 + next(3))
      text += "\(letter)\(length)"
      (last, count) = (letter, count + length)
    }
    return FrameMap(text)!
  }

  @Test(arguments: [(1, 1), (256, 2), (257, 3), (5000, 4), (32_768, 5), (32_700, 6)] as [(Int, UInt64)])
  func `Areas equal the frame counts`(frames: Int, seed: UInt64) throws {
    let map = Self.map(frames: frames, seed: seed)
    let paths = MapPaths(map)
    #expect(paths.framesPerCell == 1 && paths.cellCount == frames)
    var all: Set<Int> = []
    for (use, path) in paths.paths {
      let cells = try #require(cellsCovered(path, columns: MapPaths.columns), "a path without overlaps")
      #expect(cells.count == map.count(of: use), "\(use), seed \(seed)")
      #expect(all.isDisjoint(with: cells), "\(use), seed \(seed)")
      all.formUnion(cells)
    }
    #expect(all.allSatisfy { $0 < frames })
    #expect(frames - all.count == map.count(of: paths.ground), "what is left is the ground, seed \(seed)")
  }

  @Test func `Every frame is where it belongs`() throws {
    let map = Self.map(frames: 3000, seed: 7)
    let paths = MapPaths(map)
    var uses = [FrameUse](repeating: paths.ground, count: 3000)
    for (use, path) in paths.paths {
      for cell in try #require(cellsCovered(path, columns: MapPaths.columns)) { uses[cell] = use }
    }
    #expect(uses == map.runs.flatMap { [FrameUse](repeating: $0.use, count: $0.count) })
  }

  @Test func `Large memories keep the proportions`() throws {
    let map = try #require(FrameMap("r100000f300000s600000"))
    let paths = MapPaths(map)
    #expect(paths.framesPerCell == 25)
    var covered: [FrameUse: Int] = [:]
    for (use, path) in paths.paths {
      covered[use] = try #require(cellsCovered(path, columns: MapPaths.columns)).count
    }
    covered[paths.ground] = paths.cellCount - covered.values.reduce(0, +)
    for use in [FrameUse.reserved, .free, .stack] {
      #expect(abs(covered[use, default: 0] * 25 - map.count(of: use)) <= 50)
    }
  }

  @Test func `The enlarged part shows its frames one by one`() throws {
    let map = Self.map(frames: 32_768, seed: 8)
    let window = try #require(MapWindow(map))
    #expect(window.firstFrame % MapWindow.frameCount == 0)
    let all = map.runs.flatMap { [FrameUse](repeating: $0.use, count: $0.count) }
    #expect(window.frames(of: map) == Array(all[window.firstFrame..<window.firstFrame + MapWindow.frameCount]))
  }

  @Test func `The enlarged part is where the pieces are smallest`() throws {
    let text = "r5120" + String(repeating: "f1b1", count: 256) + "f20480"
    let map = try #require(FrameMap(text))
    #expect(MapWindow(map)?.firstFrame == 5120)
    let small = try #require(FrameMap("f511"))
    #expect(MapWindow(small) == nil)
  }
}
