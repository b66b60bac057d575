// The figure of physical memory: a map of all frames, one in a cell, and a few hundred frames enlarged.

import ImageTools

/// A map as paths, one for each use.
struct MapPaths {
  static let columns = 256
  /// The most cells of a map; in larger memories a cell covers several frames.
  static let mostCells = 40_960

  /// The use with the most runs, drawn as the background without a path.
  let ground: FrameUse
  /// A path for every other use, in lines of width 1: a cell is a unit, and rows are at whole numbers plus a half.
  let paths: [(use: FrameUse, path: String)]
  let cellCount: Int
  /// The number of frames in a cell, above 1 in large memories only.
  let framesPerCell: Int

  var rows: Int { (cellCount + Self.columns - 1) / Self.columns }

  init(_ map: FrameMap) {
    var map = map
    let frames = map.frameCount
    framesPerCell = max(1, (frames + Self.mostCells - 1) / Self.mostCells)
    if framesPerCell > 1 {
      map = FrameMap(runs: map.cells(frames / framesPerCell).map { FrameMap.Run(use: $0, count: 1) }.joined())
    }
    cellCount = map.frameCount

    var runCounts: [FrameUse: Int] = [:]
    for run in map.runs { runCounts[run.use, default: 0] += 1 }
    let ground = FrameUse.allCases.max { runCounts[$0, default: 0] < runCounts[$1, default: 0] } ?? .free
    self.ground = ground

    // Moves from run to run are relative: most are two or three characters long.
    var paths: [FrameUse: (text: String, end: (row: Int, column: Int)?)] = [:]
    var cell = 0
    for run in map.runs {
      let end = cell + run.count
      while cell < end {
        let (row, column) = (cell / Self.columns, cell % Self.columns)
        let length = min(end - cell, Self.columns - column)
        if run.use != ground {
          var path = paths[run.use] ?? ("", nil)
          if let last = path.end, last.row == row {
            path.text += "m\(column - last.column) 0h\(length)"
          } else {
            path.text += "M\(column) \(row).5h\(length)"
          }
          path.end = (row, column + length)
          paths[run.use] = path
        }
        cell += length
      }
    }
    self.paths = FrameUse.allCases.compactMap { use in paths[use].map { (use, $0.text) } }
  }
}

extension [FrameMap.Run] {
  /// The runs with neighbours of one use joined.
  fileprivate func joined() -> [FrameMap.Run] {
    var runs: [FrameMap.Run] = []
    for run in self {
      if runs.last?.use == run.use { runs[runs.count - 1].count += run.count } else { runs.append(run) }
    }
    return runs
  }
}

/// A few rows of a map that are also shown enlarged.
public struct MapWindow: Equatable, Sendable {
  /// Two rows of a map.
  static let frameCount = 2 * MapPaths.columns

  let firstFrame: Int

  /// Chooses the two most fragmented rows, nearest to the middle of memory among equals; `nil` if the map is too small.
  public init?(_ map: FrameMap) {
    guard map.frameCount >= Self.frameCount, map.frameCount <= MapPaths.mostCells else { return nil }
    var starts = [Int](repeating: 0, count: map.frameCount / Self.frameCount)
    var frame = 0
    for run in map.runs {
      let window = frame / Self.frameCount
      if window < starts.count { starts[window] += 1 }
      frame += run.count
    }
    let middle = starts.count / 2
    let best = starts.indices.max { a, b in
      (starts[a], -abs(a - middle)) < (starts[b], -abs(b - middle))
    }
    firstFrame = (best ?? 0) * Self.frameCount
  }

  /// The use of each frame in the window.
  func frames(of map: FrameMap) -> [FrameUse] {
    var uses: [FrameUse] = []
    var frame = 0
    for run in map.runs {
      let from = max(frame, firstFrame), to = min(frame + run.count, firstFrame + Self.frameCount)
      if from < to { uses += [FrameUse](repeating: run.use, count: to - from) }
      frame += run.count
    }
    return uses
  }
}

extension Drawing {
  /// The width of a map with its enlargement.
  static let mapWidth = 512.0

  /// The height of a map without its heading.
  static func mapHeight(_ map: FrameMap, zoomed: Bool) -> Double {
    Double(min(MapPaths(map).rows, 256)) * 2 + (zoomed ? 26 + 64 + 22 : 0)
  }

  /// Draws a map with a heading, and the window enlarged below it, one frame in a square.
  mutating func memoryMap(
    _ map: FrameMap, _ x: Double, _ y: Double, heading: String, detail: String, window: MapWindow?,
    note: String? = nil
  ) {
    text(heading, x, y + 16, size: 17, bold: true)
    text(detail, x, y + 37, size: 13, fill: .muted)
    let top = y + 50
    let paths = MapPaths(map)
    let height = Double(paths.rows) * 2
    group(["transform": "translate(\(x.svgText) \(top.svgText)) scale(2)", "shape-rendering": "crispEdges"]) {
      drawing in
      let full = paths.cellCount / MapPaths.columns
      drawing.rectangle(0, 0, Double(MapPaths.columns), Double(full), fill: paths.ground.role)
      let rest = paths.cellCount % MapPaths.columns
      if rest > 0 { drawing.rectangle(0, Double(full), Double(rest), 1, fill: paths.ground.role) }
      for (use, path) in paths.paths { drawing.add("path", ["class": "s-\(use.role)", "d": path]) }
    }
    guard let window else { return }

    let row = Double(window.firstFrame / MapPaths.columns)
    let band = top + row * 2
    let zoomTop = top + height + 26
    add(
      "rect",
      [
        "class": "s-text", "x": x - 1, "y": band - 1, "width": Self.mapWidth + 2, "height": 6.0,
        "stroke-width": 1.5,
      ])
    for side in [x, x + Self.mapWidth] { line(side, band + 5, side, zoomTop - 3, stroke: .text, width: 1) }
    let squares = window.frames(of: map)
    for use in FrameUse.allCases where squares.contains(use) {
      var path = ""
      for (index, square) in squares.enumerated() where square == use {
        path += "M\(index % 64 * 8) \(index / 64 * 8)h7v7h-7z"
      }
      add(
        "path",
        ["class": "f-\(use.role)", "transform": "translate(\(x.svgText) \(zoomTop.svgText))", "d": path])
    }
    text(note ?? "Enlarged: each square is one frame of 4 KiB.", x, zoomTop + 82, size: 12, fill: .muted)
  }
}

/// Pictures of memory, from the results of `fragmented-fork`.
public struct MemoryMaps {
  private let results: [JSON]
  private let window: MapWindow?

  /// - Returns: `nil` if no result has a map.
  public init?(_ results: [JSON]) {
    self.results = results.filter { Self.map($0, "before") != nil && Self.map($0, "atFailure") != nil }
    guard let first = self.results.first, let map = Self.map(first, "before") else { return nil }
    window = MapWindow(map)
  }

  static func map(_ result: JSON, _ key: String) -> FrameMap? {
    result["frameMaps"]?[key]?.string.flatMap { FrameMap($0) }.flatMap { $0.frameCount > 0 ? $0 : nil }
  }

  private func drawing(_ map: FrameMap, _ heading: String, _ detail: String, note: String? = nil) -> Drawing {
    let uses = FrameUse.allCases.filter { $0 != .absent && map.count(of: $0) > 0 }
      .map { "\($0.name) \(readable(byteCount: map.count(of: $0) << 12))" }.joined(separator: ", ")
    var drawing = Drawing(
      "Map of physical memory: \(heading)", "\(detail). In use: \(uses).", width: Drawing.mapWidth + 2,
      height: 54 + Drawing.mapHeight(map, zoomed: window != nil))
    drawing.memoryMap(map, 1, 0, heading: heading, detail: detail, window: window, note: note)
    return drawing
  }

  /// The map before the first fork.
  public var before: Drawing {
    let result = results[0]
    let largest = result["largestFreeBlockBytes"]?.integer ?? 0
    return drawing(
      Self.map(result, "before")!, "Before the first fork",
      "\(readable(byteCount: result["freeBytesBefore"]?.integer ?? 0)) free, no piece larger than "
        + readable(byteCount: largest))
  }

  /// The map at each strategy's first failure.
  public var failures: [Drawing] {
    results.map { result in
      let (heading, detail) = Self.outcome(result)
      return drawing(
        Self.map(result, "atFailure")!, heading, detail,
        note: result["forksSucceeded"]?.integer == 0
          ? "No four free squares side by side where a block may begin: nothing fits." : nil)
    }
  }

  /// The map after all children had ended, for the last strategy.
  public var after: Drawing? {
    guard let result = results.last, let map = Self.map(result, "after") else { return nil }
    let leaked = results.compactMap { $0["leakedFrames"]?.integer }
    let fate =
      leaked.allSatisfy { $0 == 0 }
      ? "0 frames leaked, with any strategy" : "frames leaked: \(leaked.map(grouped).joined(separator: ", "))"
    return drawing(map, "After every child has ended", "all memory is free again; \(fate)")
  }

  static func outcome(_ result: JSON) -> (heading: String, detail: String) {
    let forks = result["forksSucceeded"]?.integer ?? 0
    let free = readable(byteCount: result["freeBytesAtFailure"]?.integer ?? 0)
    return (
      "\(result.strategyName.asSentence) stacks: \(counted(forks, "fork"))",
      forks == 0 ? "refused with \(free) free" : "\(free) free when the next one was refused"
    )
  }

  /// The uses that any of the maps shows, for a legend.
  public var legend: [(Role, String)] {
    let maps = results.flatMap { result in ["before", "atFailure"].compactMap { Self.map(result, $0) } }
    return FrameUse.allCases.filter { use in use != .absent && maps.contains { $0.count(of: use) > 0 } }
      .map { ($0.role, $0 == .ballast ? "in use by others" : $0.name) }
  }

  /// The free memory that a stack of each strategy needs.
  public var needs: Drawing {
    var drawing = Drawing(
      "What a stack needs",
      "Contiguous: four free frames side by side. Vmalloc: any four free frames. Growing: any one free frame.",
      width: Drawing.mapWidth + 2, height: 54 + 368)
    drawing.text("What a stack needs of it", 1, 16, size: 17, bold: true)
    drawing.text("16 KiB are four frames of 4 KiB; green ones are free", 1, 37, size: 13, fill: .muted)
    let memory = Array("bffbbfbbffbfbbffbbfb")
    let rows: [(role: Role, name: String, detail: String, taken: Set<Int>)] = [
      (.linear, "Contiguous", "four neighbours, of which there are none", []),
      (.vmalloc, "Vmalloc", "any four; the page tables make them look like neighbours", [2, 5, 9, 14]),
      (.growing, "Growing", "any one at first; the others only when they are needed", [5]),
    ]
    for (index, row) in rows.enumerated() {
      let top = 70 + Double(index) * 118
      drawing.text(row.name, 1, top + 12, size: 15, fill: row.role, bold: true)
      drawing.text(row.detail, 104, top + 12, size: 13, fill: .muted)
      for (place, letter) in memory.enumerated() {
        let x = 1 + Double(place) * 25.6
        let role: Role = row.taken.contains(place) ? .stack : letter == "f" ? .free : .ballast
        drawing.rectangle(x, top + 62, 23, 23, fill: role, radius: 2)
      }
      // The stack as the thread sees it, and the frames of its pages.
      for (page, place) in row.taken.sorted().enumerated() {
        let x = 180 + Double(page) * 25.6
        drawing.rectangle(x, top + 24, 23, 16, fill: .stack, radius: 2)
        drawing.line(x + 11.5, top + 41, 12.5 + Double(place) * 25.6, top + 60, stroke: .stack, width: 1.5)
      }
      for page in row.taken.count..<4 {
        drawing.add(
          "rect",
          [
            "class": "s-\(row.taken.isEmpty ? Role.accent : .axis) dashed", "x": 180.5 + Double(page) * 25.6,
            "y": top + 24.5, "width": 22.0, "height": 15.0, "rx": 2,
          ])
      }
      if row.taken.isEmpty { drawing.text("does not fit", 292, top + 37, size: 13, fill: .accent, bold: true) }
    }
    return drawing
  }

  /// Two maps side by side, at the first failure of contiguous stacks and at that of the last strategy.
  public var pair: Drawing? {
    guard results.count > 1, let first = results.first, let last = results.last,
      let left = Self.map(first, "atFailure"), let right = Self.map(last, "atFailure")
    else { return nil }
    let height = 54 + Drawing.mapHeight(left, zoomed: window != nil)
    let (a, b) = (Self.outcome(first), Self.outcome(last))
    var drawing = Drawing(
      "The same broken memory at the first failed fork, with two kinds of stacks",
      "\(a.heading), \(a.detail). \(b.heading), \(b.detail).", width: 2 * Drawing.mapWidth + 72,
      height: height + 64)
    drawing.memoryMap(left, 20, 16, heading: a.heading, detail: a.detail, window: window)
    drawing.memoryMap(
      right, Drawing.mapWidth + 52, 16, heading: b.heading, detail: b.detail, window: window)
    drawing.legend(legend, 20, height + 42)
    return drawing
  }
}
