// A clean log after mail, terminals, loggers and people have had it.

import SeededRandom

/// A line, and the clean logs that its text comes from.
struct DamagedLine {
  var text: String
  var origins: Set<Int>
}

/// A log, and how it was damaged.
struct DamagedLog {
  /// The clean logs that it was made of, by their places among all.
  var sources: [Int]
  var bytes: [UInt8]
  /// For each line of the file, from 1: which clean logs its text comes from.
  var origins: [Set<Int>]
  /// The names of the damages, in order.
  var damages: [String]
  /// Whether all that was printed is still there, in its order or with its callers.
  var isLossless: Bool
}

/// Damages logs in all ways that are known.
///
/// The order of the ways is the order in which they befall a log: printing, the loss of lines, prefixes, colours, the clipboard,
/// mail, the web.
struct Damager {
  let logs: [CleanLog]
  var random: SplitMix64
  private var names: [String] = []

  /// The names of the damages so far.
  func takeNames() -> [String] { names }

  init(_ logs: [CleanLog], seed: UInt64) {
    self.logs = logs
    random = SplitMix64(seed: seed)
  }

  /// A message as it is printed.
  private struct Printed {
    var text: String
    /// Since boot, in microseconds.
    var time: Int
    var caller: String
    var origins: Set<Int>
    /// Whether an old kernel prints it as a further line of the message before.
    var isFurtherLine: Bool
    var isKernel: Bool
    /// A prefix is in front of it already.
    var isWhole = false
  }

  /// Chooses a number below `bound`.
  private mutating func below(_ bound: Int) -> Int { random.next(below: bound) }
  private mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
  private mutating func choice<T>(_ values: [T]) -> T { values[below(values.count)] }

  /// A damaged log.
  ///
  /// - Parameter lossy: whether something may be missing or in disorder.
  mutating func damagedLog(lossy: Bool) -> DamagedLog {
    names = []
    var sources = [below(logs.count)]
    let arrangement = below(10)
    if arrangement < 4 { sources.append(below(logs.count)) }
    var hasCallers = chance(30)
    var hasTimes = hasCallers || chance(60)
    let hasOtherText = sources.contains { !logs[$0].isKernel }
    var printed: [Printed]
    switch arrangement {
    case 0...1 where lossy || !hasOtherText:
      names.append("two logs interleaved")
      // Without callers nothing tells which is which.
      if !lossy {
        hasCallers = true
        hasTimes = true
      }
      printed = interleaved(sources)
    case 2:
      names.append("two CPUs on one line")
      hasTimes = true
      if !lossy { hasCallers = true }
      printed = interleaved(sources)
    default:
      if sources.count > 1 { names.append("one after the other") }
      printed = sequence(sources)
    }
    if chance(25) { addForeign(&printed) }
    if lossy { lose(&printed) }
    // A journal shows further lines without a prefix, dmesg with one.
    let hidesFurther = chance(30) && hasTimes && !printed.contains { $0.isWhole }
    var lines = prefixed(printed, hasTimes: hasTimes, hasCallers: hasCallers, hidesFurther: hidesFurther)
    if names.first == "two CPUs on one line" { joinLines(&lines) }
    if lossy, chance(50) { cut(&lines) }
    let isPrefixed = hasTimes
    if chance(12) { colour(&lines, isPrefixed: isPrefixed) }
    if chance(12) { addTabs(&lines) }
    if lossy, chance(15) { cut(&lines) }
    if chance(35) { wrap(&lines, isLossy: lossy) }
    if chance(25) { quote(&lines) }
    if chance(10), !lines.contains(where: { $0.text.contains("\u{1b}") }) { wrap(&lines, isLossy: lossy) }
    return encoded(lines, sources: sources, isLossless: !lossy)
  }

  // MARK: Printing

  private mutating func sequence(_ sources: [Int]) -> [Printed] {
    var time = 1_000_000 * (1 + below(90_000))
    var result: [Printed] = []
    for source in sources {
      result += printing(source, from: &time, caller: "T\(1 + below(30_000))")
      time += 20_000_000 + below(100_000_000)
    }
    return result
  }

  private mutating func printing(_ source: Int, from time: inout Int, caller: String) -> [Printed] {
    let log = logs[source]
    var result: [Printed] = []
    for message in log.messages {
      let isFurther =
        message.hasPrefix(" ") && message.contains(":") && !message.contains("+0x")
        && !message.contains("kB") && !message.contains("  ")
      if !isFurther { time += 1 + below(40) }
      result.append(
        Printed(
          text: message, time: time, caller: caller, origins: [source], isFurtherLine: isFurther,
          isKernel: log.isKernel))
    }
    return result
  }

  /// Two logs that are printed at the same time, in runs of one to some lines.
  private mutating func interleaved(_ sources: [Int]) -> [Printed] {
    let start = 1_000_000 * (1 + below(90_000))
    var queues: [[Printed]] = []
    var callers: Set<String> = []
    for source in sources {
      var time = start
      var caller = ""
      repeat {
        caller = chance(50) ? "T\(1 + below(3000))" : "C\(below(64))"
      } while !callers.insert(caller).inserted
      queues.append(printing(source, from: &time, caller: caller).reversed())
    }
    var result: [Printed] = []
    var time = start
    let longestRun = 1 + below(8)
    while queues.contains(where: { !$0.isEmpty }) {
      let index = below(queues.count)
      var count = 1 + below(longestRun)
      while count > 0 || queues[index].last?.isFurtherLine == true, var next = queues[index].popLast() {
        // A message is printed as a whole.
        if !next.isFurtherLine { time += 1 + below(30) }
        next.time = time
        result.append(next)
        count -= 1
      }
    }
    return result
  }

  private static let foreign = [
    "usb 1-1: new high-speed USB device number 4 using dwc2",
    "EXT4-fs (sda1): re-mounted. Opts: errors=remount-ro",
    "IPv6: ADDRCONF(NETDEV_CHANGE): eth0: link becomes ready",
    "audit: type=1400 audit(1467648000.123:42): apparmor=\"STATUS\" operation=\"profile_load\" pid=412",
    "systemd-journald[212]: /dev/kmsg buffer overrun, some messages lost.",
    "device eth0 entered promiscuous mode",
  ]

  /// Messages of others between those of a report.
  private mutating func addForeign(_ printed: inout [Printed]) {
    names.append("foreign messages")
    for _ in 0...below(4) {
      let place = below(printed.count)
      var message = printed[place]
      guard !message.isFurtherLine, message.isKernel else { continue }
      message.text = choice(Self.foreign)
      message.caller = "T\(40_000 + below(1000))"
      message.origins = []
      printed.insert(message, at: place)
    }
  }

  // MARK: Losses

  private mutating func lose(_ printed: inout [Printed]) {
    switch below(6) {
    case 0:
      names.append("beginning lost")
      printed.removeFirst(below(printed.count))
    case 1:
      names.append("end lost")
      printed.removeLast(below(printed.count))
    case 2, 3:
      let percent = 1 + below(15)
      names.append("lines lost")
      var index = 0
      while index < printed.count, printed.count > 1 {
        if chance(percent) { printed.remove(at: index) } else { index += 1 }
      }
    default: break
    }
  }

  /// Cuts lines off: all at a width, or some anywhere.
  private mutating func cut(_ lines: inout [DamagedLine]) {
    let kind = below(4)
    let width = 60 + below(180)
    let percent = 3 + below(25)
    names.append(kind == 0 ? "cut at \(width)" : kind == 1 ? "beginnings cut" : "ends cut")
    for index in lines.indices {
      let count = lines[index].text.count
      if kind == 0 {
        lines[index].text = String(lines[index].text.prefix(width))
      } else if chance(percent), count > 1 {
        let length = below(count)
        lines[index].text = String(
          kind == 1 ? lines[index].text.suffix(length) : lines[index].text.prefix(length))
      }
    }
  }

  // MARK: Prefixes

  private mutating func prefixed(
    _ printed: [Printed], hasTimes: Bool, hasCallers: Bool, hidesFurther: Bool
  ) -> [DamagedLine] {
    let style = PrefixStyle(hasTimes: hasTimes, hasCallers: hasCallers, random: &random)
    names.append("prefix \(style.name)")
    var previous = printed.first?.time ?? 0
    return printed.map { message in
      let time = message.time
      defer { previous = time }
      var text = message.text
      if hidesFurther && message.isFurtherLine {
        text = "                " + text.drop { $0 == " " }
      } else {
        let prefix = style.prefix(
          time: time, since: previous, caller: message.caller, isKernel: message.isKernel)
        text = style.line(prefix + text)
      }
      return DamagedLine(text: text, origins: message.origins)
    }
  }

  /// Puts some lines behind the ones before them.
  private mutating func joinLines(_ lines: inout [DamagedLine]) {
    var index = 1
    while index < lines.count {
      if chance(12), lines[index].text.hasPrefix("["), lines[index - 1].text.hasPrefix("[") {
        lines[index - 1].text += lines[index].text
        lines[index - 1].origins.formUnion(lines[index].origins)
        lines.remove(at: index)
      }
      index += 1
    }
  }

  // MARK: Terminals and mail

  private mutating func colour(_ lines: inout [DamagedLine], isPrefixed: Bool) {
    names.append("colours")
    let start = choice(["\u{1b}[32m", "\u{1b}[1;33m", "\u{1b}[0;36m\u{1b}[K", "^[[33m", "#033[31m"])
    let end = start.hasPrefix("^") ? "^[[0m" : start.hasPrefix("#") ? "#033[0m" : "\u{1b}[0m"
    for index in lines.indices {
      let text = lines[index].text
      if isPrefixed, text.hasPrefix("["), let close = text.firstIndex(of: "]") {
        lines[index].text = start + text[...close] + end + text[text.index(after: close)...]
      } else {
        lines[index].text = start + text + end
      }
    }
  }

  private mutating func addTabs(_ lines: inout [DamagedLine]) {
    names.append("tabs")
    for index in lines.indices {
      let text = lines[index].text
      if chance(50), let blank = text.firstIndex(of: " ") {
        lines[index].text.replaceSubrange(blank...blank, with: "\t")
      }
      if chance(20) { lines[index].text = "\t" + lines[index].text }
    }
  }

  /// Breaks long lines: where a blank is, or anywhere.
  private mutating func wrap(_ lines: inout [DamagedLine], isLossy: Bool) {
    let width = 62 + below(100)
    let isHard = chance(40)
    let keepsBlank = chance(50)
    let indent = choice(["", "", "", "    ", " "])
    names.append("wrapped \(isHard ? "anywhere " : "")at \(width)")
    var result: [DamagedLine] = []
    for line in lines {
      var rest = Substring(line.text)
      var isFirst = true
      while rest.count > width {
        var end = rest.index(rest.startIndex, offsetBy: width)
        if !isHard, let blank = rest[..<end].lastIndex(of: " "),
          rest.distance(from: rest.startIndex, to: blank) > 20
        {
          end = blank
        }
        var part = rest[..<end]
        rest = rest[end...]
        if !isHard, rest.hasPrefix(" ") {
          if keepsBlank { part = Substring(part + " ") }
          rest.removeFirst()
        }
        // What is broken anywhere is not indented: the rest of a word would be another.
        result.append(DamagedLine(text: (isFirst || isHard ? "" : indent) + part, origins: line.origins))
        isFirst = false
      }
      result.append(DamagedLine(text: (isFirst || isHard ? "" : indent) + rest, origins: line.origins))
    }
    lines = result
  }

  private mutating func quote(_ lines: inout [DamagedLine]) {
    let mark = choice(["> ", ">> ", "> > ", ">", "| ", " > "])
    names.append("quoted with \(mark)")
    for index in lines.indices { lines[index].text = mark + lines[index].text }
  }
}
