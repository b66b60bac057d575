// `Node 0 DMA: 0*4kB 0*8kB … 1*1024kB (U) 1*2048kB (M) 3*4096kB (M) = 15360kB`

/// Reads the free blocks of a zone.
enum FreeListLine {
  /// What is known of a list while its parts come in.
  struct Parts {
    var node: Int?
    var zone: String
    var line: Int
    var sizes: [UInt64] = []
    var blocks: [FreeBlocks] = []
    var total: UInt64?
    /// Why it is not believed, as soon as that is known.
    var fault: String?
  }

  /// Whether a message has a list with its total.
  static func isComplete(_ text: [UInt8]) -> Bool {
    guard let first = text.firstIndex(where: isTimes), let equals = text.offset(of: "=", from: first) else {
      return false
    }
    var scanner = ByteScanner(text, at: equals + 1)
    scanner.skipBlanks()
    guard scanner.number() != nil else { return false }
    return scanner.take("kB")
  }

  /// How many lists begin in a message.
  static func count(in bytes: [UInt8]) -> Int {
    var count = 0
    var index = 0
    while let (_, start, _) = beginning(bytes, from: index) {
      count += 1
      index = start
    }
    return count
  }

  /// The list that begins in a message, or `nil`.
  static func begin(_ text: TextLine, pendingNode: Int?) -> Parts? {
    let bytes = text.bytes
    guard let (name, start, node) = beginning(text.bytes) else { return nil }
    var parts = Parts(node: node ?? pendingNode, zone: name, line: text.number(at: start))
    var scanner = ByteScanner(bytes, at: start)
    scanner.skipBlanks()
    if scanner.take("empty") {
      parts.total = 0
      return parts
    }
    read(&scanner, text, into: &parts)
    return parts
  }

  /// Adds a message that has nothing but the next entries of a list; returns whether it has.
  ///
  /// Kernels 4.8 and 4.9 print each entry on a line of its own.
  static func extend(_ parts: inout Parts, with text: TextLine) -> Bool {
    guard parts.total == nil, parts.fault == nil else { return false }
    var scanner = ByteScanner(text.bytes)
    scanner.skipBlanks()
    guard
      scanner.current.isDigit || scanner.current == UInt8(ascii: "(") || scanner.current == UInt8(ascii: "=")
    else { return false }
    var extended = parts
    read(&scanner, text, into: &extended)
    guard extended.fault == nil, extended.sizes.count > parts.sizes.count || extended != parts else {
      return false
    }
    parts = extended
    return true
  }

  /// A finished list, if it adds up.
  static func finish(_ parts: Parts) -> Outcome<FreeList> {
    let name = "the free list of \(parts.node.map { "node \($0), " } ?? "")zone \(parts.zone)"
    func damaged(_ why: String) -> Outcome<FreeList> {
      .damaged(Damage(line: parts.line, what: "\(name) (\(why))", zone: parts.zone))
    }
    if let fault = parts.fault { return damaged(fault) }
    guard let total = parts.total else { return damaged("cut off") }
    guard let first = parts.sizes.first else {
      return total == 0
        ? .read(
          FreeList(node: parts.node, zone: parts.zone, line: parts.line, pageBytes: 0, orders: [], total: 0))
        : damaged("no entries")
    }
    let list = FreeList(
      node: parts.node, zone: parts.zone, line: parts.line, pageBytes: first, orders: parts.blocks, total: total
    )
    guard [4096, 8192, 16384, 65536].contains(first), parts.sizes.count >= 5 else { return damaged("cut off") }
    guard list.sum == total else {
      return damaged("its blocks make \(list.sum >> 10) kB, not \(total >> 10) kB")
    }
    return .read(list)
  }

  /// The zone's name, and where the entries begin.
  private static func beginning(_ bytes: [UInt8], from first: Int = 0) -> (
    name: String, start: Int, node: Int?
  )? {
    var index = first
    while let colon = bytes.offset(of: ":", from: index) {
      index = colon + 1
      var begin = colon
      while begin > 0, bytes[begin - 1].isWord { begin -= 1 }
      guard ZoneName.all.contains(bytes.text(begin..<colon)) else { continue }
      var scanner = ByteScanner(bytes, at: colon + 1)
      scanner.skipBlanks()
      let isEmpty = scanner.bytes.has("empty", at: scanner.index)
      let hasCount = scanner.number() != nil && isTimes(scanner.current)
      let hasNothing = scanner.isAtEnd
      guard isEmpty || hasCount || hasNothing else { continue }
      return (bytes.text(begin..<colon), colon + 1, NodeName.before(begin, in: bytes))
    }
    return nil
  }

  /// Reads entries until the total; anything else is a fault.
  private static func read(_ scanner: inout ByteScanner, _ text: TextLine, into parts: inout Parts) {
    while true {
      scanner.skipBlanks()
      if scanner.isAtEnd { return }
      if scanner.take(UInt8(ascii: "=")) {
        scanner.skipBlanks()
        if scanner.isAtEnd { return }
        guard let total = number(&scanner, text), takeUnit(&scanner, text) else {
          if !scanner.isAtEnd { parts.fault = "mixed with other text" }
          return
        }
        parts.total = total << 10
        return
      }
      if scanner.take(UInt8(ascii: "(")) {
        guard let types = letters(&scanner, text) else {
          parts.fault = scanner.isAtEnd ? nil : "mixed with other text"
          if scanner.isAtEnd { parts.fault = "cut off" }
          return
        }
        guard !parts.blocks.isEmpty, parts.blocks[parts.blocks.count - 1].types == nil,
          parts.blocks[parts.blocks.count - 1].count > 0
        else {
          parts.fault = "mixed with other text"
          return
        }
        parts.blocks[parts.blocks.count - 1].types = types
        continue
      }
      guard let count = number(&scanner, text), takeTimes(&scanner, text),
        let size = number(&scanner, text), takeUnit(&scanner, text)
      else {
        parts.fault = scanner.isAtEnd ? "cut off" : "mixed with other text"
        return
      }
      if size == 0 || size > 1 << 30 || count >= 1 << 36 / size
        || parts.sizes.last.map({ $0 != size << 9 }) ?? (size.nonzeroBitCount != 1)
      {
        parts.fault = "its entries are out of order"
        return
      }
      parts.sizes.append(size << 10)
      parts.blocks.append(FreeBlocks(count: count, types: nil))
    }
  }

  private static func skipJoint(_ scanner: inout ByteScanner, _ text: TextLine) {
    let here = scanner.index
    guard scanner.current == .blank, text.joints.contains(where: { $0.offset == here || $0.offset == here + 1 })
    else { return }
    scanner.skipBlanks()
  }

  /// A number, put together where it was wrapped.
  private static func number(_ scanner: inout ByteScanner, _ text: TextLine) -> UInt64? {
    guard let first = scanner.number() else { return nil }
    let here = scanner.index
    guard scanner.current == .blank, text.joints.contains(where: { $0.offset == here || $0.offset == here + 1 })
    else { return first }
    scanner.skipBlanks()
    let digits = ByteScanner.digitCount(scanner.bytes, at: scanner.index)
    guard digits > 0, digits < 9, let rest = scanner.number() else {
      scanner.index = here
      return first
    }
    var value = first
    for _ in 0..<digits { value = value &* 10 }
    return value &+ rest
  }

  /// Whether a byte stands between a count and a size: trackers that read asterisks as emphasis show underscores.
  private static func isTimes(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "*") || byte == UInt8(ascii: "_") }

  private static func takeTimes(_ scanner: inout ByteScanner, _ text: TextLine) -> Bool {
    skipJoint(&scanner, text)
    guard isTimes(scanner.current) else { return false }
    scanner.index += 1
    skipJoint(&scanner, text)
    return true
  }

  private static func takeUnit(_ scanner: inout ByteScanner, _ text: TextLine) -> Bool {
    skipJoint(&scanner, text)
    guard scanner.take(UInt8(ascii: "k")) else { return false }
    skipJoint(&scanner, text)
    return scanner.take(UInt8(ascii: "B"))
  }

  /// The letters up to the closing bracket.
  private static func letters(_ scanner: inout ByteScanner, _ text: TextLine) -> MigrateTypes? {
    var types: MigrateTypes = []
    while true {
      skipJoint(&scanner, text)
      if scanner.take(UInt8(ascii: ")")) { return types.isEmpty ? nil : types }
      guard let type = MigrateTypes(letter: scanner.current), !types.contains(type) else { return nil }
      types.insert(type)
      scanner.index += 1
    }
  }
}

extension FreeListLine.Parts: Equatable {}
