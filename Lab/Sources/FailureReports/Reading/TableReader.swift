// The tables of /proc that people add to their reports.

/// Reads /proc/buddyinfo, /proc/pagetypeinfo, /proc/zoneinfo, /proc/meminfo, /proc/vmstat and /proc/vmallocinfo.
package struct TableReader {
  /// The moments that were read, in the order of the file.
  package private(set) var snapshots: [Snapshot] = []
  /// Rows that were not believed.
  package private(set) var damages: [Damage] = []
  private var current: Snapshot?
  /// Whether the lines of a zone of /proc/zoneinfo are coming.
  private var isInZone = false

  private static let greatestSnapshotCount = 100_000

  /// The lines of /proc/meminfo that matter.
  private static let memoryNames: Set<String> = [
    "MemTotal", "MemFree", "MemAvailable", "KernelStack", "PageTables", "Slab", "SReclaimable", "SUnreclaim",
    "VmallocTotal", "VmallocUsed", "VmallocChunk", "CmaTotal", "CmaFree", "CommitLimit", "Committed_AS",
    "Cached",
    "Buffers", "SwapTotal", "SwapFree",
  ]

  package init() {}

  /// Takes a message, and returns whether it is a line of a table.
  package mutating func add(_ text: TextLine) -> Bool {
    let bytes = text.bytes
    if bytes.contains(", zone") || bytes.contains("zone ") && bytes.contains("Node") {
      return addNodeLine(text)
    }
    if isInZone, addZoneLine(text) { return true }
    if bytes.has("0x"), addArea(text) { return true }
    return addMemory(text) || addCounter(text)
  }

  /// All moments, the last one included.
  package mutating func finish() -> [Snapshot] {
    if let snapshot = current, !snapshot.isEmpty { snapshots.append(snapshot) }
    current = nil
    return snapshots
  }

  /// Makes sure that there is a snapshot which does not have `isTaken` yet.
  private mutating func snapshot(line: Int, without isTaken: (Snapshot) -> Bool) -> Snapshot {
    if let snapshot = current {
      if !isTaken(snapshot) { return snapshot }
      if snapshots.count < Self.greatestSnapshotCount { snapshots.append(snapshot) }
    }
    isInZone = false
    return Snapshot(line: line)
  }

  /// `Node 0, zone   Normal   1779   0 …`, with or without a migrate type; alone it begins a zone of /proc/zoneinfo.
  private mutating func addNodeLine(_ text: TextLine) -> Bool {
    guard let place = text.bytes.offset(of: "Node") else { return false }
    var scanner = ByteScanner(text.bytes, at: place + 4)
    scanner.skipBlanks()
    guard let node = scanner.number(), node < 4096 else { return false }
    scanner.skipBlanks()
    guard scanner.take(UInt8(ascii: ",")) else { return false }
    scanner.skipBlanks()
    guard scanner.take("zone") else { return false }
    scanner.skipBlanks()
    let name = scanner.run(while: \.isWord)
    let zone = text.bytes.text(name)
    guard ZoneName.all.contains(zone) else { return false }
    scanner.skipBlanks()
    let line = text.number(at: place)
    var type: String?
    if scanner.take(UInt8(ascii: ",")) {
      scanner.skipBlanks()
      guard scanner.take("type") else { return false }
      scanner.skipBlanks()
      type = text.bytes.text(scanner.run { $0.isLetter })
      scanner.skipBlanks()
    }
    var counts: [UInt64] = []
    while true {
      // Counts above 100,000 are not counted to their end: `>100000`.
      _ = scanner.take(UInt8(ascii: ">"))
      guard let count = scanner.amount() else { break }
      counts.append(count)
      scanner.skipBlanks()
    }
    if counts.isEmpty && scanner.isAtEnd && type == nil {
      var open = snapshot(line: line) { $0.zones.contains { $0.node == Int(node) && $0.zone == zone } }
      open.zones.append(Snapshot.ZonePages(node: Int(node), zone: zone, line: line))
      current = open
      isInZone = true
      return true
    }
    isInZone = false
    let row = Snapshot.Row(node: Int(node), zone: zone, type: type, counts: counts, line: line)
    let kind = type == nil ? "buddyinfo" : "pagetypeinfo"
    guard scanner.isAtEnd, counts.count >= 8, isAsLongAsOthers(row) else {
      damages.append(
        Damage(line: line, what: "a row of \(kind) for zone \(zone) (cut off or mixed)", zone: zone))
      return true
    }
    if type == nil {
      var open = snapshot(line: line) { $0.rows.contains { $0.node == row.node && $0.zone == zone } }
      open.rows.append(row)
      current = open
    } else {
      var open = snapshot(line: line) {
        $0.typeRows.contains { $0.node == row.node && $0.zone == zone && $0.type == type }
      }
      open.typeRows.append(row)
      current = open
    }
    return true
  }

  /// All rows of a machine have the same number of columns.
  private func isAsLongAsOthers(_ row: Snapshot.Row) -> Bool {
    let other = current?.rows.first ?? current?.typeRows.first ?? snapshots.last?.rows.first
    return other.map { $0.counts.count == row.counts.count } ?? true
  }

  /// `pages free     3968`, `min      67`, `protection: (0, 3405, 7866, 7866)`.
  private mutating func addZoneLine(_ text: TextLine) -> Bool {
    guard var open = current, !open.zones.isEmpty else { return false }
    var scanner = ByteScanner(text.bytes)
    scanner.skipBlanks()
    let last = open.zones.count - 1
    if scanner.take("pages free") {
      scanner.skipBlanks()
      open.zones[last].free = scanner.amount()
    } else if scanner.take("protection:") {
      var values: [UInt64] = []
      while !scanner.isAtEnd {
        if let value = scanner.amount() { values.append(value) } else { scanner.index += 1 }
      }
      open.zones[last].protection = values
    } else {
      let name = scanner.run(while: \.isWord)
      guard !name.isEmpty else { return false }
      scanner.skipBlanks()
      guard let value = scanner.amount() else { return false }
      scanner.skipBlanks()
      guard scanner.isAtEnd else { return false }
      switch text.bytes.text(name) {
      case "min": open.zones[last].min = value
      case "low": open.zones[last].low = value
      case "high" where open.zones[last].high == nil: open.zones[last].high = value
      case "managed": open.zones[last].managed = value
      case "nr_free_cma": open.zones[last].freeContiguous = value
      default: break
      }
    }
    current = open
    return true
  }

  /// `KernelStack:       22720 kB`.
  private mutating func addMemory(_ text: TextLine) -> Bool {
    let bytes = text.bytes
    var scanner = ByteScanner(bytes)
    scanner.skipBlanks()
    let name = scanner.run { $0.isWord || $0 == UInt8(ascii: "(") || $0 == UInt8(ascii: ")") }
    guard name.count > 3, scanner.current == UInt8(ascii: ":") else { return false }
    scanner.index += 1
    scanner.skipBlanks()
    guard let value = scanner.number(), value < 1 << 50 else { return false }
    scanner.skipBlanks()
    guard scanner.take("kB") else { return false }
    scanner.skipBlanks()
    guard scanner.isAtEnd else { return false }
    let key = bytes.text(name)
    guard Self.memoryNames.contains(key) else { return key.first?.isUppercase ?? false }
    var open = snapshot(line: text.number) { $0.memory[key] != nil }
    open.memory[key] = Figure(value: value << 10, line: text.number(at: name.lowerBound))
    current = open
    return true
  }

  private static let counterNames: Set<String> = [
    "compact_stall", "compact_fail", "compact_success", "allocstall", "allocstall_normal", "oom_kill",
    "nr_kernel_stack", "pgalloc_normal",
  ]

  /// `compact_fail 12`.
  private mutating func addCounter(_ text: TextLine) -> Bool {
    guard let first = text.bytes.first, first.isLetter, text.bytes.contains("_") else { return false }
    var scanner = ByteScanner(text.bytes)
    let name = scanner.run(while: \.isWord)
    guard scanner.take(UInt8.blank), let value = scanner.number(), scanner.isAtEnd else { return false }
    let key = text.bytes.text(name)
    guard Self.counterNames.contains(key) else { return false }
    var open = snapshot(line: text.number) { $0.counters[key] != nil }
    open.counters[key] = Figure(value: value, line: text.number)
    current = open
    return true
  }

  /// `0xffffc90000000000-0xffffc90000005000   20480 dup_task_struct+0x58/0x1c0 pages=4 vmalloc N0=4`.
  private mutating func addArea(_ text: TextLine) -> Bool {
    var scanner = ByteScanner(text.bytes, at: 2)
    guard scanner.hexNumber() != nil, scanner.take("-0x"), scanner.hexNumber() != nil else { return false }
    scanner.skipBlanks()
    guard scanner.number() != nil else { return false }
    var open = current ?? Snapshot(line: text.number)
    open.areaCount += 1
    let bytes = text.bytes
    if bytes.contains("dup_task_struct") || bytes.contains("alloc_thread_stack")
      || bytes.contains("copy_process")
    {
      open.stackAreaCount += 1
    }
    current = open
    return true
  }
}
