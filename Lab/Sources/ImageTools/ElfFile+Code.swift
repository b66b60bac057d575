// The instructions of a linked file, each with the function that it belongs to.

extension ElfFile {
  /// An instruction of a function.
  struct CodeWord {
    /// The function's symbol, or the section's name before the first symbol.
    var function: String
    /// Whether it is the function's first instruction.
    var isFirst: Bool
    /// Its address.
    var address: UInt64
    /// The instruction.
    var word: UInt32
  }

  /// Visits all instructions, section by section, in the order of their addresses.
  func forEachCodeWord(_ body: (CodeWord) -> Void) {
    for (index, section) in sections.enumerated() where section.isCode {
      let labels = codeLabels(sectionIndex: index)
      var nextLabel = 0
      var function = section.name
      var isFirst = true
      var isData = false
      let code = Array(contents(of: section))
      for offset in stride(from: 0, to: code.count & ~3, by: 4) {
        let address = section.address + UInt64(offset)
        while nextLabel < labels.count, labels[nextLabel].address <= address {
          switch MappingSymbol(labels[nextLabel].name) {
          case .code: isData = false
          case .data: isData = true
          case nil:
            function = labels[nextLabel].name
            isFirst = true
          }
          nextLabel += 1
        }
        if isData { continue }
        let word = (0..<4).reduce(UInt32(0)) { $0 | UInt32(code[offset + $1]) << (8 * UInt32($1)) }
        body(CodeWord(function: function, isFirst: isFirst, address: address, word: word))
        isFirst = false
      }
    }
  }

  /// Function symbols and mapping symbols ($x begins code, $d begins data) of a section, by address.
  private func codeLabels(sectionIndex: Int) -> [Symbol] {
    symbols
      .filter { $0.sectionIndex == sectionIndex && ($0.type == 2 || $0.type == 0) && !$0.name.isEmpty }
      .filter { !$0.name.hasPrefix(".L") }
      .sorted { ($0.address, $0.name) < ($1.address, $1.name) }
  }
}

/// A mapping symbol, which marks the kind of the bytes that follow.
///
/// It is `$x` or `$d`, or either with a dot and more. Swift's mangled names begin with `$` too.
private enum MappingSymbol {
  case code
  case data

  init?(_ name: String) {
    if name == "$x" || name.hasPrefix("$x.") {
      self = .code
    } else if name == "$d" || name.hasPrefix("$d.") {
      self = .data
    } else {
      return nil
    }
  }
}
