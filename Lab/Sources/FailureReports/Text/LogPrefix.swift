// What loggers put before a message of the kernel.

/// The prefix of a line: time stamps, hosts, priorities, the CPU or thread that printed it.
package struct LogPrefix: Equatable, Sendable {
  /// How many bytes it takes.
  package var length = 0
  /// The kernel's time in microseconds since boot, if printed.
  package var microseconds: UInt64?
  /// The thread or CPU that printed the line (`T14021`, `C3`, `pid:1361`), if the kernel notes it.
  package var caller: String?
  /// Whether there is more than blanks.
  package var isPresent = false

  /// The prefix at `start` of a line.
  ///
  /// - Parameter hasTime: whether the kernel's time stood before it, on another line.
  package init(of line: [UInt8], from start: Int = 0, afterTime hasTime: Bool = false) {
    var reader = PrefixReader(line, at: start)
    if hasTime { reader.microseconds = 0 }
    reader.readAll()
    length = reader.end - start
    microseconds = reader.microseconds
    caller = reader.caller
    isPresent = reader.isPresent
  }
}

extension LogPrefix {
  /// The rest of a prefix whose beginning is cut off: `0042][  T198] `.
  init?(restIn line: [UInt8], from start: Int) {
    var scanner = ByteScanner(line, at: start)
    _ = scanner.run { $0.isDigit || $0 == UInt8(ascii: ".") }
    guard scanner.take("][") else { return nil }
    scanner.skipBlanks()
    let word = scanner.run { $0 == UInt8(ascii: "T") || $0 == UInt8(ascii: "C") || $0.isDigit }
    guard word.count > 1, !line[word.lowerBound].isDigit, line[word].dropFirst().allSatisfy(\.isDigit),
      scanner.take(UInt8(ascii: "]"))
    else { return nil }
    caller = line.text(word)
    isPresent = true
    length = scanner.index - start
  }
}

/// Reads the parts of a prefix, in any order and number.
private struct PrefixReader {
  var scanner: ByteScanner
  var microseconds: UInt64?
  var caller: String?
  var isPresent = false
  private var hasDate = false
  private var hasBracketedTime = false
  /// Behind the last part.
  var end: Int

  init(_ line: [UInt8], at start: Int) {
    scanner = ByteScanner(line, at: start)
    end = start
  }

  mutating func readAll() {
    while true {
      scanner.index = end
      scanner.skipBlanks()
      if scanner.isAtEnd { break }
      guard readPart() else { break }
      end = scanner.index
      isPresent = true
    }
  }

  private mutating func readPart() -> Bool {
    let start = scanner.index
    let first = scanner.current
    if first == UInt8(ascii: "<") { return readPriority() }
    if first == UInt8(ascii: "[") { return readBrackets() }
    if first == UInt8(ascii: "("), microseconds != nil || hasDate {
      // MediaTek's `(3)[1234:name]`.
      scanner.index += 1
      guard scanner.number() != nil, scanner.take(UInt8(ascii: ")")) else { return false }
      return scanner.current == UInt8(ascii: "[")
    }
    if first.isDigit || first.isLetter {
      if !hasDate, readDate() {
        hasDate = true
        readSource()
        return true
      }
      scanner.index = start
      if readFacility() { return true }
      scanner.index = start
      if readKernelTag() { return true }
      scanner.index = start
      if readLogcatTag() { return true }
      scanner.index = start
      if readContainer() { return true }
    }
    return false
  }

  /// `<4>`.
  private mutating func readPriority() -> Bool {
    scanner.index += 1
    guard let priority = scanner.number(), priority < 192 else { return false }
    return scanner.take(UInt8(ascii: ">"))
  }

  private mutating func readBrackets() -> Bool {
    let start = scanner.index
    if let time = KernelTime(in: scanner.bytes, at: start) {
      // A second time on the line belongs to another message.
      guard microseconds == nil else { return false }
      microseconds = time.microseconds
      scanner.index = time.end
      return true
    }
    guard let close = scanner.bytes[start...].prefix(80).firstIndex(of: UInt8(ascii: "]")) else { return false }
    let inside = Array(scanner.bytes[start + 1..<close])
    scanner.index = close + 1
    if inside.has("pid:") {
      caller = inside.text(0..<(inside.firstIndex(of: UInt8(ascii: ",")) ?? inside.count))
      return true
    }
    let word = inside.drop { $0 == .blank }
    if microseconds != nil, let kind = word.first, kind == UInt8(ascii: "T") || kind == UInt8(ascii: "C"),
      word.count > 1, word.dropFirst().allSatisfy(\.isDigit)
    {
      caller = String(decoding: word, as: UTF8.self)
      return true
    }
    if Self.isTime(inside) {
      hasBracketedTime = true
      return true
    }
    // Samsung's and MediaTek's `[1:  kworker/1:1:  123]`, `[1234:name]`.
    if microseconds != nil || hasDate, let first = word.first, first.isDigit,
      let colon = word.firstIndex(of: UInt8(ascii: ":")), word[word.startIndex..<colon].allSatisfy(\.isDigit),
      !inside.contains("/00:")
    {
      return true
    }
    // Docker Desktop's `[Moby           ][Info   ]`, after a time in brackets.
    if hasBracketedTime, !word.isEmpty, word.count <= 24,
      word.allSatisfy({ $0.isLetter || $0 == .blank || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") })
    {
      return true
    }
    return false
  }

  /// Whether brackets hold a time of day: `[Wed Sep 30 03:58:46 2020]`, `[Sep30 03:58]`, `[  +0.000012]`, `[12:49:32.315]`.
  private static func isTime(_ inside: [UInt8]) -> Bool {
    var scanner = ByteScanner(inside)
    scanner.skipBlanks()
    if scanner.take(UInt8(ascii: "+")) {
      _ = scanner.number()
      guard scanner.take(UInt8(ascii: ".")), scanner.number() != nil else { return false }
      return scanner.isAtEnd
    }
    if scanner.take(UInt8(ascii: "<")) {
      // `[<    0.000012>]` of `dmesg -d`; an address has no point.
      return inside.last == UInt8(ascii: ">") && inside.contains(UInt8(ascii: "."))
        && inside.dropFirst().dropLast().allSatisfy { $0.isDigit || $0 == UInt8(ascii: ".") || $0 == .blank }
    }
    var reader = PrefixReader(inside, at: scanner.index)
    guard reader.readDate() else { return false }
    reader.scanner.skipBlanks()
    _ = reader.scanner.run { $0.isDigit || $0.isLetter || $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: ":") }
    return reader.scanner.isAtEnd
  }

  private static let months: [StaticString] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
  ]
  private static let weekdays: [StaticString] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]

  /// A date and a time of day, or a time of day alone, in the ways that syslog, journald, OpenWrt and Android write them.
  private mutating func readDate() -> Bool {
    let start = scanner.index
    if scanner.current.isLetter {
      if Self.weekdays.contains(where: { scanner.take($0) }) {
        _ = scanner.take(UInt8(ascii: ","))
        scanner.skipBlanks()
      }
      guard Self.months.contains(where: { scanner.take($0) }) else { return false }
      scanner.skipBlanks()
      guard let day = scanner.number(), day <= 31 else { return false }
      scanner.skipBlanks()
      let beforeYear = scanner.index
      if let year = scanner.number(), year > 1900 { scanner.skipBlanks() } else { scanner.index = beforeYear }
      guard readTimeOfDay() else { return false }
      let beforeTrailingYear = scanner.index
      scanner.skipBlanks()
      if let year = scanner.number(), year > 1900, year < 2200 { return true }
      scanner.index = beforeTrailingYear
      return true
    }
    // `2020-09-30T03:58:46,123456+02:00`, `2020/09/30 03:58:46`, `07-13 08:41:51.341`
    if let first = scanner.number(),
      scanner.current == UInt8(ascii: "-") || scanner.current == UInt8(ascii: "/")
    {
      let separator = scanner.current
      scanner.index += 1
      guard scanner.number() != nil else { return false }
      if first > 1900 {
        guard scanner.take(separator), scanner.number() != nil else { return false }
      }
      guard scanner.take(UInt8(ascii: "T")) || scanner.current == .blank else { return false }
      scanner.skipBlanks()
      return readTimeOfDay()
    }
    scanner.index = start
    return readTimeOfDay()
  }

  /// `03:58:46`, `03:58:46.123456Z`, `03:58:46,123+02:00`; `03:58` before a bracket.
  private mutating func readTimeOfDay() -> Bool {
    guard let hour = scanner.number(), hour < 25, scanner.take(UInt8(ascii: ":")),
      let minute = scanner.number(),
      minute < 60
    else { return false }
    if scanner.isAtEnd { return true }
    guard scanner.take(UInt8(ascii: ":")), let second = scanner.number(), second < 61 else { return false }
    if scanner.current == UInt8(ascii: ".") || scanner.current == UInt8(ascii: ","), scanner.peek(1).isDigit {
      scanner.index += 1
      _ = scanner.run(while: \.isDigit)
    }
    if scanner.take(UInt8(ascii: "Z")) { return true }
    let zone = scanner.current
    if zone == UInt8(ascii: "+") || zone == UInt8(ascii: "-"), scanner.peek(1).isDigit {
      scanner.index += 1
      _ = scanner.run { $0.isDigit || $0 == UInt8(ascii: ":") }
    }
    let next = scanner.current
    return scanner.isAtEnd || next == .blank || next == UInt8(ascii: "]") || next == UInt8(ascii: ":")
      || next == UInt8(ascii: "<") || next == UInt8(ascii: "[")
  }

  /// What stands between a date and the message: `host kernel: `, `kern.warn kernel: `, `1234  1234 W kernel  : `.
  private mutating func readSource() {
    let afterDate = scanner.index
    for _ in 0..<5 {
      scanner.skipBlanks()
      let word = scanner.run { $0 > 0x20 && $0 != UInt8(ascii: "[") && $0 != UInt8(ascii: "<") }
      guard !word.isEmpty else { break }
      let name = scanner.bytes.text(word)
      if ["kernel:", "klogd:", "vmunix:", "kernel[0]:"].contains(name) { return }
      if name == "kernel" || name == "klogd" {
        scanner.skipBlanks()
        if scanner.current == UInt8(ascii: "["), scanner.peek(1).isDigit,
          let close = scanner.bytes[scanner.index...].prefix(12).firstIndex(of: UInt8(ascii: "]")),
          close + 1 < scanner.bytes.count, scanner.bytes[close + 1] == UInt8(ascii: ":")
        {
          scanner.index = close + 2
          return
        }
        if scanner.take(UInt8(ascii: ":")) { return }
      }
      if name.hasSuffix(":") { break }
    }
    // A program's line, or a host alone before the kernel's own time.
    scanner.index = afterDate
    scanner.skipBlanks()
    let host = scanner.run { $0.isWord || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
    scanner.skipBlanks()
    if !host.isEmpty, KernelTime(in: scanner.bytes, at: scanner.index) != nil { return }
    scanner.index = afterDate
  }

  private static let facilities: [StaticString] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "authpriv",
  ]
  private static let levels: [StaticString] = [
    "emerg", "alert", "crit", "err", "warning", "warn", "notice", "info", "debug",
  ]

  /// `kern  :warn  : ` of `dmesg -x`.
  private mutating func readFacility() -> Bool {
    guard Self.facilities.contains(where: { scanner.take($0) }) else { return false }
    scanner.skipBlanks()
    guard scanner.take(UInt8(ascii: ":")) || scanner.take(UInt8(ascii: ".")) else { return false }
    guard Self.levels.contains(where: { scanner.take($0) }) else { return false }
    scanner.skipBlanks()
    _ = scanner.take(UInt8(ascii: ":"))
    return true
  }

  /// `kernel: `, `host kernel: `.
  private mutating func readKernelTag() -> Bool {
    for attempt in 0..<2 {
      if scanner.take("kernel:") || scanner.take("klogd:") || scanner.take("vmunix:") { return true }
      if attempt == 0 {
        guard !hasDate, microseconds == nil else { return false }
        _ = scanner.run { $0.isWord || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
        guard scanner.current == .blank else { return false }
        scanner.skipBlanks()
      }
    }
    return false
  }

  /// `W/kernel  ( 123): `.
  private mutating func readLogcatTag() -> Bool {
    guard "VDIWEF".utf8.contains(scanner.current), scanner.peek(1) == UInt8(ascii: "/") else { return false }
    scanner.index += 2
    guard scanner.take("kernel") || scanner.take("KERNEL") else { return false }
    scanner.skipBlanks()
    if scanner.take(UInt8(ascii: "(")) {
      scanner.skipBlanks()
      guard scanner.number() != nil, scanner.take(UInt8(ascii: ")")) else { return false }
    }
    return scanner.take(UInt8(ascii: ":"))
  }

  /// `service_1  | ` of a group of containers.
  private mutating func readContainer() -> Bool {
    guard !isPresent else { return false }
    let name = scanner.run { $0.isWord || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
    guard !name.isEmpty, scanner.current == .blank else { return false }
    scanner.skipBlanks()
    return scanner.take("| ")
  }
}
