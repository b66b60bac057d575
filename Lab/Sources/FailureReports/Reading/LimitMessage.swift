// Messages that name a limit.

/// Reads the messages with which a kernel or a program says that a limit was reached.
struct LimitMessage {
  private let rejectedFork = /fork rejected by pids controller(?: in (?<group>\S+))?/
  private let killedInGroup = /killed as a result of limit of (?<group>\/\S*)/
  private let groupOfKill = /oom_memcg=(?<group>[^,\s]+)/
  /// Only the system calls themselves: threads' library says the same where it finds no memory.
  private let refusedFork = /\b(?:fork|clone)\b[^\n]{0,80}?(?:temporarily unavailable|No child processes)/

  /// Whether a message is worth a closer look.
  static func mayRead(_ bytes: [UInt8]) -> Bool {
    bytes.contains("rejected by") || bytes.contains("cgroup") || bytes.contains("CONSTRAINT_")
      || bytes.contains("unavailable") || bytes.contains("fork: retry") || bytes.contains("result of limit")
      || bytes.contains("not enough memory for") || bytes.contains("oom_memcg")
      || bytes.contains("failcnt")
  }

  /// Where `memory: usage 524288kB, limit 524288kB, failcnt 12` stands.
  private func groupUsage(_ bytes: [UInt8]) -> Int? {
    guard let place = bytes.offset(of: "memory: usage "), bytes.contains("failcnt") else { return nil }
    return place
  }

  /// The limit that a message is about, or `nil`.
  func read(_ text: TextLine) -> Limit? {
    let bytes = text.bytes
    if bytes.contains("rejected by pids") {
      let line = text.number(at: bytes.offset(of: "rejected by pids") ?? 0)
      let match = String(decoding: bytes, as: UTF8.self).firstMatch(of: rejectedFork)
      return Limit(kind: .pids, line: line, group: match?.output.group.map(String.init))
    }
    if let place = bytes.offset(ofPhrase: "Memory cgroup out of memory")
      ?? bytes.offset(ofPhrase: "killed as a result of limit of") ?? bytes.offset(
        of: "constraint=CONSTRAINT_MEMCG")
      ?? bytes.offset(ofPhrase: "Memory cgroup stats for") ?? groupUsage(bytes)
      ?? bytes.offset(of: "oom_memcg=")
    {
      let string = String(decoding: bytes, as: UTF8.self)
      let group =
        string.firstMatch(of: groupOfKill)?.output.group ?? string.firstMatch(of: killedInGroup)?.output.group
      return Limit(kind: .memoryGroup, line: text.number(at: place), group: group.map(String.init))
    }
    if let place = bytes.offset(of: "constraint=CONSTRAINT_CPUSET")
      ?? bytes.offset(of: "constraint=CONSTRAINT_MEMORY_POLICY")
    {
      return Limit(kind: .nodes, line: text.number(at: place))
    }
    if bytes.contains("temporarily unavailable") || bytes.contains("fork: retry:") {
      let string = String(decoding: bytes, as: UTF8.self)
      if let match = string.firstMatch(of: refusedFork) {
        let place = string.utf8.distance(from: string.startIndex, to: match.range.lowerBound)
        return Limit(kind: .threads, line: text.number(at: min(place, bytes.count)))
      }
    }
    if let place = bytes.offset(ofPhrase: "not enough memory for the allocation") {
      return Limit(kind: .overcommit, line: text.number(at: place))
    }
    return nil
  }
}
