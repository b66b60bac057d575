// This machine, at this moment.

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// What a running Linux tells of its memory, its stacks and its limits.
package struct LiveReading: Sendable {
  package var state: MemoryState
  package var configuration: KernelConfiguration
  package var limits: [LimitReading]
  /// How much memory a thread's stack takes.
  package var stackBytes: UInt64
  /// The kernel's release, as `uname -r` has it.
  package var release: String
  /// Counters of /proc/vmstat.
  package var counters: [String: Figure]
  /// The failures in the kernel's log, if it may be read.
  package var log: FileReport?
  /// What could not be read, and what that costs.
  package var gaps: [String]

  /// Reads this machine, or a copy of its files.
  ///
  /// - Parameter withLog: whether to look for failures in the kernel's log.
  /// - Returns: `nil` where there is no /proc with the state of memory.
  package static func take(_ system: SystemFiles = SystemFiles(), withLog: Bool = true) -> LiveReading? {
    var files = system
    var tables = TableReader()
    func add(_ text: [UInt8]?) {
      for line in (text ?? []).split(separator: 0x0a) {
        _ = tables.add(TerminalText.clean(TextLine(Array(line), number: 0)))
      }
    }
    guard let blocks = files.read("/proc/buddyinfo", else: "the free blocks are not known") else { return nil }
    add(blocks)
    add(
      files.read(
        "/proc/pagetypeinfo",
        else: "which free blocks only the contiguous memory allocator may use is not known; try sudo"))
    add(files.read("/proc/zoneinfo", else: "watermarks and reserves are not known"))
    add(files.read("/proc/meminfo", else: "the memory of kernel stacks is not known"))
    add(files.read("/proc/vmstat"))
    guard let snapshot = tables.finish().last else { return nil }
    let threads = LimitReading.threadCount(&files)
    let release = String(
      decoding: (files.read("/proc/sys/kernel/osrelease") ?? []).filter { $0 > 0x20 }, as: UTF8.self)
    let stackBytes = Self.stackBytes(all: snapshot.memory["KernelStack"]?.value, threads: threads)
    var state = MemoryState(snapshot, pageBytes: UInt64(getpagesize()), stackBytes: stackBytes)
    state.threadCount = threads ?? state.threadCount
    let configuration = KernelConfiguration.read(&files, release: release)
    let limits = LimitReading.all(&files)
    var log: FileReport?
    if withLog, let lines = KernelLog.read(&files) { log = try? LineReader.examine(lines) }
    return LiveReading(
      state: state, configuration: configuration, limits: limits, stackBytes: stackBytes, release: release,
      counters: snapshot.counters, log: log, gaps: files.gaps)
  }

  /// The size of a stack: all stacks' memory by the number of threads, which is a power of two.
  private static func stackBytes(all: UInt64?, threads: UInt64?) -> UInt64 {
    guard let all, let threads, threads > 0 else { return 16384 }
    var size: UInt64 = 4096
    // Threads that have ended still have their stacks for a while, so the average is a little high.
    while size < 65536, size * 3 / 2 < all / threads { size <<= 1 }
    return size
  }

  /// The limits that the next process may hit.
  package var nearLimits: [LimitReading] { limits.filter(\.isNear) }

  /// Contiguous stacks that could still be made in all zones.
  package var contiguousStacks: UInt64 {
    state.zones.reduce(0) { $0 &+ $1.contiguousStacks(of: stackBytes) }
  }

  /// Whether the next fork will fail, as far as can be seen: for a limit, or for want of a block.
  package var nextForkFails: Bool {
    limits.contains(where: \.isReached) || configuration.hasMappedStacks == false && contiguousStacks == 0
  }
}
