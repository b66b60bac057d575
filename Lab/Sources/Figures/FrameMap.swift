// Frame maps: the use of each page frame, as the run-length text of a result or in fewer cells.

/// The use of a page frame; the raw value is its letter in a frame map.
public enum FrameUse: Character, CaseIterable, Sendable {
  case reserved = "r"
  case free = "f"
  case ballast = "b"
  case stack = "s"
  case userMemory = "u"
  case pageTable = "p"
  case taskRecord = "t"
  case vmalloc = "v"
  case metadata = "m"
  case absent = "x"

  /// The use in a word or two.
  public var name: String {
    switch self {
    case .reserved: "kernel"
    case .free: "free"
    case .ballast: "pinned"
    case .stack: "stacks"
    case .userMemory: "user"
    case .pageTable: "page tables"
    case .taskRecord: "tasks"
    case .vmalloc: "vmalloc"
    case .metadata: "metadata"
    case .absent: "no memory"
    }
  }

  /// Its character in a picture of characters.
  public var symbol: Character {
    switch self {
    case .reserved: "#"
    case .free: "."
    case .ballast: "o"
    case .stack: "S"
    case .userMemory: "u"
    case .pageTable: "p"
    case .taskRecord: "t"
    case .vmalloc: "v"
    case .metadata: "m"
    case .absent: " "
    }
  }

  /// Its colour, one of a terminal's 256.
  public var colour: Int {
    switch self {
    case .reserved: 238
    case .free: 114
    case .ballast: 245
    case .stack: 203
    case .userMemory: 75
    case .pageTable: 221
    case .taskRecord: 177
    case .vmalloc: 80
    case .metadata: 137
    case .absent: 16
    }
  }
}

/// The use of every frame from the lowest to the highest, as runs.
public struct FrameMap: Equatable, Sendable {
  /// Neighbouring frames of one use.
  public struct Run: Equatable, Sendable {
    /// Their use.
    public var use: FrameUse
    /// Their number.
    public var count: Int

    /// Makes a run of `count` frames.
    public init(use: FrameUse, count: Int) {
      self.use = use
      self.count = count
    }
  }

  /// The runs, from the lowest frame up.
  public let runs: [Run]

  /// Makes a map of these runs.
  public init(runs: [Run]) { self.runs = runs }

  /// Parses run-length text such as `r120f1b1f1`; `nil` if it has another form.
  public init?(_ text: String) {
    var runs: [Run] = []
    var use: FrameUse?
    var count = 0
    var hasDigits = false
    func finish() -> Bool {
      guard let use else { return !hasDigits }
      guard hasDigits, count > 0 else { return false }
      runs.append(Run(use: use, count: count))
      return true
    }
    for character in text {
      if let digit = character.wholeNumberValue, character.isASCII {
        guard count < 1 << 40 else { return nil }
        count = count * 10 + digit
        hasDigits = true
      } else {
        guard finish(), let next = FrameUse(rawValue: character) else { return nil }
        use = next
        count = 0
        hasDigits = false
      }
    }
    guard finish() else { return nil }
    self.runs = runs
  }

  /// The number of frames.
  public var frameCount: Int { runs.reduce(0) { $0 + $1.count } }

  /// The number of frames with this use.
  public func count(of use: FrameUse) -> Int { runs.reduce(0) { $1.use == use ? $0 + $1.count : $0 } }

  /// Whether another map shows about the same use of memory.
  ///
  /// The runs of a scenario begin with equal amounts of memory for each use in the same places, but in different frames, since
  /// the kernel's own memory differs a little between strategies. So memory is compared in 16 parts, and one frame in 16 may
  /// differ.
  public func isMuchLike(_ other: FrameMap) -> Bool {
    guard frameCount == other.frameCount else { return false }
    var different = 0
    for (mine, theirs) in zip(counts(inStretches: 16), other.counts(inStretches: 16)) {
      for use in FrameUse.allCases { different += abs(mine[use, default: 0] - theirs[use, default: 0]) }
    }
    // A frame of another use counts twice: once missing, once too many.
    return different / 2 * 16 <= frameCount
  }

  /// The number of frames of each use in each of `count` equal parts of memory.
  private func counts(inStretches count: Int) -> [[FrameUse: Int]] {
    let length = max(1, (frameCount + count - 1) / count)
    var stretches = [[FrameUse: Int]](repeating: [:], count: count)
    var frame = 0
    for run in runs {
      let end = frame + run.count
      while frame < end {
        let stretch = frame / length
        let part = min(end, (stretch + 1) * length) - frame
        stretches[stretch][run.use, default: 0] += part
        frame += part
      }
    }
    return stretches
  }

  /// The map in `cellCount` cells of one use each, in proportion to its frames.
  ///
  /// A cell usually covers frames of several uses. The most frequent use would hide the others everywhere, so the rest is
  /// carried over to the next cells (error diffusion): where a third of memory is free, a third of the cells is free.
  public func cells(_ cellCount: Int) -> [FrameUse] {
    let total = frameCount
    guard total > 0, cellCount > 0 else { return [] }
    var cells: [FrameUse] = []
    cells.reserveCapacity(cellCount)
    // Frames not shown yet, in units of 1/cellCount frame, so that sums are exact.
    var owed: [FrameUse: Int] = [:]
    var run = 0
    var leftInRun = runs[0].count * cellCount
    for _ in 0..<cellCount {
      var leftInCell = total
      while leftInCell > 0 {
        let part = min(leftInCell, leftInRun)
        owed[runs[run].use, default: 0] += part
        leftInCell -= part
        leftInRun -= part
        if leftInRun == 0, run + 1 < runs.count {
          run += 1
          leftInRun = runs[run].count * cellCount
        }
      }
      // Of equals the first in the list, so that a map always gives the same picture.
      let shown = FrameUse.allCases.max { owed[$0, default: 0] < owed[$1, default: 0] }!
      owed[shown, default: 0] -= total
      cells.append(shown)
    }
    return cells
  }
}
