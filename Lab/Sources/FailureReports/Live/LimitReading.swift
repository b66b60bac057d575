// How near a machine is to limits that make fork fail.

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// A limit and what is used of it.
package struct LimitReading: Equatable, Sendable {
  /// What it limits, in words: `threads of the machine (kernel.threads-max)`.
  package var name: String
  package var used: UInt64?
  package var limit: UInt64
  /// Whether it counts bytes.
  package var isMemory = false

  /// Whether the next process may be refused.
  package var isReached: Bool { used.map { $0 >= limit } ?? false }

  /// Whether nine tenths are used.
  package var isNear: Bool { used.map { $0 >= limit / 10 * 9 } ?? false }

  /// All limits of this process, its control groups and the machine.
  static func all(_ files: inout SystemFiles) -> [LimitReading] {
    var result: [LimitReading] = []
    let threads = threadCount(&files)
    if let limit = files.number("/proc/sys/kernel/threads-max") {
      result.append(
        LimitReading(name: "threads of the machine (kernel.threads-max)", used: threads, limit: limit))
    }
    if let limit = files.number("/proc/sys/kernel/pid_max") {
      result.append(LimitReading(name: "process numbers (kernel.pid_max)", used: threads, limit: limit))
    }
    if let limit = userLimit(&files) {
      result.append(
        LimitReading(name: "processes of this user (ulimit -u)", used: userThreadCount(&files), limit: limit))
    }
    for group in groups(&files) { result += limits(of: group, &files) }
    return result
  }

  /// All threads: the fourth field of /proc/loadavg is `running/all`.
  static func threadCount(_ files: inout SystemFiles) -> UInt64? {
    guard let text = files.read("/proc/loadavg"), let slash = text.offset(of: "/") else { return nil }
    var scanner = ByteScanner(text, at: slash + 1)
    return scanner.number()
  }

  /// `Max processes             31371                31371                processes` of /proc/self/limits.
  private static func userLimit(_ files: inout SystemFiles) -> UInt64? {
    guard let text = files.read("/proc/self/limits"), let place = text.offset(of: "Max processes") else {
      return nil
    }
    var scanner = ByteScanner(text, at: place + 13)
    scanner.skipBlanks()
    return scanner.number()
  }

  /// The threads of the user whose limits count.
  private static func userThreadCount(_ files: inout SystemFiles) -> UInt64? {
    guard let own = files.read("/proc/self/status"), let user = field("Uid:", of: own) else { return nil }
    // Root has no such limit.
    if user == 0 { return nil }
    var count: UInt64 = 0
    for name in files.names(in: "/proc") where name.utf8.first?.isDigit ?? false {
      guard let status = files.read("/proc/\(name)/status"), field("Uid:", of: status) == user else { continue }
      count += field("Threads:", of: status) ?? 1
    }
    return count
  }

  private static func field(_ name: StaticString, of text: [UInt8]) -> UInt64? {
    guard let place = text.offset(of: name) else { return nil }
    var scanner = ByteScanner(text, at: place + name.utf8CodeUnitCount)
    while scanner.current == 0x09 || scanner.current == .blank { scanner.index += 1 }
    return scanner.number()
  }

  /// The folders of this process's control groups, each with its ancestors: a limit of any of them holds.
  private static func groups(_ files: inout SystemFiles) -> [String] {
    guard let text = files.read("/proc/self/cgroup") else { return [] }
    var result: [String] = []
    for line in text.split(separator: 0x0a) {
      let parts = String(decoding: line, as: UTF8.self).split(
        separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      let controllers = parts[1]
      let base: String
      if controllers.isEmpty {
        base = "/sys/fs/cgroup"
      } else if controllers.split(separator: ",").contains(where: { $0 == "pids" || $0 == "memory" }) {
        base = "/sys/fs/cgroup/\(controllers)"
      } else {
        continue
      }
      var path = String(parts[2])
      while true {
        result.append(base + (path == "/" ? "" : path))
        guard path.count > 1, let slash = path.lastIndex(of: "/") else { break }
        path = slash == path.startIndex ? "/" : String(path[..<slash])
      }
    }
    return result
  }

  private static func limits(of group: String, _ files: inout SystemFiles) -> [LimitReading] {
    var result: [LimitReading] = []
    if let limit = files.number("\(group)/pids.max") {
      result.append(
        LimitReading(
          name: "processes and threads of the control group \(group) (pids.max)",
          used: files.number("\(group)/pids.current"), limit: limit))
    }
    for (limitFile, usedFile) in [
      ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ] {
      // The first version's "no limit" is a number near 2^63.
      if let limit = files.number("\(group)/\(limitFile)"), limit < 1 << 60 {
        result.append(
          LimitReading(
            name: "memory of the control group \(group) (\(limitFile))",
            used: files.number("\(group)/\(usedFile)"),
            limit: limit, isMemory: true))
      }
    }
    return result
  }
}
