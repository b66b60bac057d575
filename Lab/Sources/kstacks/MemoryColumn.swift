// The columns of a table of costs that show what the memory model counted.

import ImageTools

/// A column: a mean of the model, or the sum of several.
struct MemoryColumn {
  /// The core whose caches and TLBs the columns are of; results have the others, too.
  static let core = "cortex-a72"

  var heading: String
  /// The members of a row's `memory`; those of a core after its name and state.
  private var paths: [[String]]

  private init(_ heading: String, _ paths: [[String]]) {
    self.heading = heading
    self.paths = paths
  }

  private static func touched(_ heading: String, _ keys: String...) -> MemoryColumn {
    MemoryColumn(heading, keys.map { [$0] })
  }

  private static func missed(_ heading: String, _ state: String, _ keys: String...) -> MemoryColumn {
    MemoryColumn(heading, keys.map { ["cores", core, state, $0] })
  }

  /// What an operation touches, and what it misses.
  static let all = [
    touched("data lines", "dataLines"), touched("code lines", "codeLines"),
    touched("translations", "dataTranslations", "codeTranslations"),
    missed("warm: lines missed", "warm", "l1Data", "l1Code"),
    missed("warm: translations missed", "warm", "tlb"),
    missed("cold: lines from memory", "cold", "l2"),
    missed("cold: descriptors read", "cold", "descriptors"),
  ]

  /// The cell of a row, to a tenth; empty if the row was not modelled.
  func cell(_ row: JSON) -> String {
    guard let memory = row["memory"] else { return "" }
    var sum = 0.0
    for path in paths {
      var value: JSON? = memory
      for key in path { value = value?[key] }
      guard let number = value?.number else { return "" }
      sum += number
    }
    let tenths = Int((sum * 10).rounded())
    return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
  }
}
