// `Node 0 DMA32 free:57976kB min:29148kB low:36432kB high:43716kB …`

/// Reads the figures of a zone.
enum ZoneLine {
  /// The zone that a message describes.
  ///
  /// - Parameter pendingNode: the node that the message before has named, where a kernel prints it apart.
  static func read(_ text: TextLine, pendingNode: Int?) -> Outcome<Zone> {
    let bytes = text.bytes
    guard let (start, name, node) = beginning(bytes) else { return .absent }
    let line = text.number(at: start)
    let place = "the figures of zone \(name)"
    let fields = Field.all(in: text, from: start)
    var zone = Zone(
      node: node ?? pendingNode, name: name, line: line, free: Figure(value: 0, line: line),
      min: Figure(value: 0, line: line), isComplete: false)
    var seen: Set<String> = []
    var reclaimable: UInt64 = 0
    for field in fields {
      let key = bytes.text(field.name)
      guard let kind = Key(rawValue: key) else { continue }
      guard field.unit == .kilobytes else {
        return .damaged(Damage(line: line, what: "\(place) (\(key) has no unit)", zone: name))
      }
      guard seen.insert(key).inserted else {
        return .damaged(Damage(line: line, what: "\(place) (\(key) stands there twice)", zone: name))
      }
      let size = field.value << 10
      if field.value >= 1 << 36 {
        return .damaged(Damage(line: line, what: "\(place) (too large)", zone: name))
      }
      let figure = Figure(value: size, line: text.number(at: field.name.lowerBound))
      switch kind {
      case .free: zone.free = figure
      case .min: zone.min = figure
      case .low: zone.low = figure
      case .high: zone.high = figure
      case .cma: zone.cma = figure
      case .highAtomic: zone.highAtomic = figure
      case .freeHighAtomic: zone.freeHighAtomic = figure
      case .present: zone.present = figure
      case .managed: zone.managed = figure
      case .kernelStack: zone.kernelStack = figure
      case .activeFile, .inactiveFile, .slabReclaimable:
        reclaimable &+= size
        zone.reclaimable = Figure(value: reclaimable, line: figure.line)
      }
    }
    guard seen.contains("free"), seen.contains("min") else {
      return .damaged(Damage(line: line, what: "\(place) (cut off)", zone: name))
    }
    // All kernels that print what is managed print what the contiguous allocator has.
    zone.isComplete =
      seen.contains("free_cma")
      || !seen.contains("managed") && (bytes.contains("unreclaimable?") || bytes.contains("pages_scanned"))
    // Kernels have counted slabs by zone, by node, and for the whole machine.
    zone.hasAllReclaimable =
      seen.contains("active_file") && seen.contains("inactive_file")
      ? seen.contains("slab_reclaimable") || zone.isComplete : bytes.contains("inactive:") && zone.isComplete
    if let contradiction = contradiction(in: zone) {
      return .damaged(Damage(line: line, what: "\(place) (\(contradiction))", zone: name))
    }
    return .read(zone)
  }

  private enum Key: String {
    case free, min, low, high, present, managed
    case cma = "free_cma"
    case highAtomic = "reserved_highatomic"
    case freeHighAtomic = "free_highatomic"
    case kernelStack = "kernel_stack"
    case activeFile = "active_file"
    case inactiveFile = "inactive_file"
    case slabReclaimable = "slab_reclaimable"
  }

  /// Where the figures of a zone begin, and which zone it is.
  private static func beginning(_ bytes: [UInt8]) -> (start: Int, name: String, node: Int?)? {
    var index = 0
    while let found = bytes.offset(of: "free:", from: index) {
      index = found + 5
      var end = found
      while end > 0, bytes[end - 1] == .blank { end -= 1 }
      var begin = end
      while begin > 0, bytes[begin - 1].isWord { begin -= 1 }
      let name = bytes.text(begin..<end)
      guard ZoneName.all.contains(name) else { continue }
      return (begin, name, NodeName.before(begin, in: bytes))
    }
    return nil
  }

  /// How many zones' figures begin in a message.
  static func count(in bytes: [UInt8]) -> Int {
    var count = 0
    var rest = bytes
    while let (start, name, _) = beginning(rest) {
      count += 1
      rest = Array(rest[(start + name.utf8.count)...])
    }
    return count
  }

  /// What about a zone's figures cannot be.
  private static func contradiction(in zone: Zone) -> String? {
    if let low = zone.low, let high = zone.high, low.value > high.value { return "low is above high" }
    if let low = zone.low, zone.min.value > low.value { return "min is above low" }
    if let cma = zone.cma, cma.value > zone.free.value &+ zone.free.value / 8 &+ (4 << 20) {
      return "more contiguous memory is free than memory"
    }
    if let managed = zone.managed, let present = zone.present, managed.value > present.value {
      return "more is managed than present"
    }
    if let managed = zone.managed, zone.free.value > managed.value, managed.value > 0 {
      return "more is free than there is"
    }
    return nil
  }
}

/// `Node 3` in front of a zone's name.
enum NodeName {
  /// The number of the node whose name ends before `end`, with nothing but blanks and a comma between.
  static func before(_ end: Int, in bytes: [UInt8]) -> Int? {
    var index = end
    while index > 0, bytes[index - 1] == .blank || bytes[index - 1] == UInt8(ascii: ",") { index -= 1 }
    let last = index
    while index > 0, bytes[index - 1].isDigit { index -= 1 }
    guard last > index, last - index < 5, let number = Int(bytes.text(index..<last)) else { return nil }
    while index > 0, bytes[index - 1] == .blank { index -= 1 }
    guard index >= 4, bytes.has("Node", at: index - 4) else { return nil }
    return number
  }
}
