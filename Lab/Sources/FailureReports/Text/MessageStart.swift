// How a message of the kernel begins: what tells a new message from the rest of a wrapped one.

/// How surely a line begins a message.
enum MessageStart {
  /// A line that nothing but the beginning of a message looks like.
  case certain
  /// A line that could be the rest of a wrapped message, where lines have prefixes.
  case likely
  /// Anything else.
  case none

  static let zoneNames: [StaticString] = ["DMA32", "DMA", "Normal", "HighMem", "Movable", "Device"]

  private static let certainStarts: [StaticString] = [
    "Mem-Info", "Mem-info", "lowmem_reserve[", "protections[", "Call Trace", "Call trace", "MemTotal:",
    "SLUB: Unable", "SLAB: Unable", "Out of memory", "Out of Memory", "oom-kill:", "oom_reaper:",
    "Memory cgroup",
    "Allocation of length", "vmap allocation", "vmalloc", "cgroup: fork", "Insufficient stack space",
    "Task stack:",
    "IRQ stack:", "Overflow stack:", "Kernel panic", "Hardware name", "Linux version", "Free pages:",
    "BUG:", "kernel stack overflow", "Kernel stack overflow",
  ]
  private static let likelyStarts: [StaticString] = [
    "Free swap", "Total swap", "Swap cache", "Swap Cache", "Active:", "[<", "? ", "Tasks state", "[  pid",
    "Backtrace",
    "cache:", "Workqueue:", "Code:", "RIP:", "pc :", "lr :", "sp :", "Stack:", "ESR:", "FAR:", "Tainted:",
  ]

  /// Decides about a message's text.
  init(_ text: [UInt8]) {
    let start = text.firstIndex { $0 != .blank } ?? text.count
    guard start < text.count else {
      self = .none
      return
    }
    let first = text[start]
    if first.isLetter, Self.certainStarts.contains(where: { text.has($0, at: start) }) {
      self = .certain
      return
    }
    if Self.beginsZone(text, at: start) || Self.isHeading(text, after: start) || Self.beginsCPU(text, at: start)
    {
      self = .certain
      return
    }
    if Self.likelyStarts.contains(where: { text.has($0, at: start) }) || Self.beginsPageCount(text, at: start)
      || Self.beginsSymbol(text, at: start)
    {
      self = .likely
      return
    }
    self = .none
  }

  /// `Node 0 DMA free:…`, `Node 0, zone…`, `DMA: 1*4kB…`, `Normal per-cpu:`.
  private static func beginsZone(_ text: [UInt8], at start: Int) -> Bool {
    var scanner = ByteScanner(text, at: start)
    if scanner.take("Node") {
      scanner.skipBlanks()
      return scanner.number() != nil
    }
    if scanner.take("node ") { return scanner.number() != nil && scanner.take(UInt8(ascii: ":")) }
    guard zoneNames.contains(where: { scanner.take($0) }) else { return false }
    if scanner.take(UInt8(ascii: ":")) { return true }
    scanner.skipBlanks()
    return scanner.take("free:") || scanner.take("per-cpu")
  }

  /// `bash invoked oom-killer…`, `cat: page allocation failure…`: a name stands in front of what happened to it.
  private static func isHeading(_ text: [UInt8], after start: Int) -> Bool {
    let phrases: [StaticString] = [
      "invoked oom-killer", "page allocation failure", "page allocation stalls", "vmalloc error: size",
      "vmalloc: allocation failure: ",
    ]
    return phrases.contains { (text.offset(ofPhrase: $0) ?? 0) > start } || beginsWordsOfProgram(text)
  }

  /// `bash: fork: retry: …`, `sh: line 3: fork: …`.
  private static func beginsWordsOfProgram(_ text: [UInt8]) -> Bool {
    guard let fork = text.offset(of: ": fork: "), fork < 48 else { return false }
    return text[..<fork].allSatisfy { $0.isWord || $0 == .blank || "-./:".utf8.contains($0) }
  }

  /// `CPU: 1 PID: 2238 …`.
  private static func beginsCPU(_ text: [UInt8], at start: Int) -> Bool {
    var scanner = ByteScanner(text, at: start)
    guard scanner.take("CPU") else { return false }
    _ = scanner.take(UInt8(ascii: ":"))
    scanner.skipBlanks()
    return scanner.number() != nil
  }

  /// `free:5053 …`, counted in pages where a zone's figures have units, `14080 pages of RAM`, `MemFree:  638020 kB`.
  private static func beginsPageCount(_ text: [UInt8], at start: Int) -> Bool {
    var scanner = ByteScanner(text, at: start)
    if scanner.number() != nil {
      scanner.skipBlanks()
      return scanner.take("pages") || scanner.take("total pagecache") || scanner.take("free pages")
        || scanner.take("reserved pages")
    }
    let name = scanner.run { $0.isWord || $0 == UInt8(ascii: "(") || $0 == UInt8(ascii: ")") }
    guard name.count > 3, scanner.take(UInt8(ascii: ":")) else { return false }
    let isAttached = scanner.current.isDigit
    scanner.skipBlanks()
    guard scanner.number() != nil else { return false }
    if isAttached { return scanner.current == .blank || scanner.isAtEnd }
    // A line of /proc/meminfo has one figure.
    scanner.skipBlanks()
    guard scanner.take("kB") || scanner.isAtEnd else { return false }
    scanner.skipBlanks()
    return scanner.isAtEnd
  }

  /// `copy_process+0x136/0x1a00`.
  private static func beginsSymbol(_ text: [UInt8], at start: Int) -> Bool {
    var scanner = ByteScanner(text, at: start)
    let name = scanner.run { $0.isWord || $0 == UInt8(ascii: ".") }
    return !name.isEmpty && scanner.take("+0x")
  }
}
