// A picture of physical memory: half-blocks in colour on a terminal, characters otherwise.

import Figures

/// One frame map as a picture, lowest frame top left.
struct MemoryPicture {
  var map: FrameMap
  /// The number of cells in a row, one character each.
  var width = 64
  /// The number of lines of text.
  var height = 2
  /// Whether to use half-blocks and colours; twice as many cells fit then.
  var inColour: Bool

  private var cells: [FrameUse] { map.cells(width * height * (inColour ? 2 : 1)) }

  /// The lines of the picture.
  var lines: [String] {
    let cells = cells
    guard !cells.isEmpty else { return [] }
    return (0..<height).map { row in
      if !inColour { return String(cells[row * width..<(row + 1) * width].map(\.symbol)) }
      var line = ""
      var last: (Int, Int)?
      for column in 0..<width {
        let upper = cells[2 * row * width + column].colour
        let lower = cells[(2 * row + 1) * width + column].colour
        if last == nil || last! != (upper, lower) { line += "\u{1b}[38;5;\(upper);48;5;\(lower)m" }
        last = (upper, lower)
        line += "▀"
      }
      return line + "\u{1b}[0m"
    }
  }

  /// The legend of some pictures, such as `# kernel  . free`.
  static func legend(_ pictures: [MemoryPicture]) -> String {
    let shown = Set(pictures.flatMap(\.cells))
    return FrameUse.allCases.filter { shown.contains($0) && $0 != .absent }.map { use in
      let mark = pictures[0].inColour ? "\u{1b}[38;5;\(use.colour)m█\u{1b}[0m" : "\(use.symbol)"
      return "\(mark) \(use.name)"
    }.joined(separator: "  ")
  }

  /// The memory that one cell covers.
  var bytesPerCell: Int { (map.frameCount << 12) / max(1, width * height * (inColour ? 2 : 1)) }
}
