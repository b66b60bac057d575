// Readings of a machine's memory that no failure has caused.

/// What /proc says of a machine's memory at one moment.
package struct Snapshot: Equatable, Sendable {
  /// A row of /proc/buddyinfo: free blocks of a zone by order.
  package struct Row: Equatable, Sendable {
    package var node: Int
    package var zone: String
    /// The migrate type, in a row of /proc/pagetypeinfo.
    package var type: String?
    /// Free blocks of each order, from 0.
    package var counts: [UInt64]
    package var line: Int
  }

  /// A zone of /proc/zoneinfo.
  ///
  /// Sizes are in pages.
  package struct ZonePages: Equatable, Sendable {
    package var node: Int
    package var zone: String
    package var line: Int
    package var free: UInt64?
    package var min: UInt64?
    package var low: UInt64?
    package var high: UInt64?
    package var managed: UInt64?
    package var freeContiguous: UInt64?
    package var protection: [UInt64] = []
  }

  /// The first line of the file that it was read from.
  package var line: Int
  /// Rows of /proc/buddyinfo.
  package var rows: [Row] = []
  /// /proc/pagetypeinfo.
  package var typeRows: [Row] = []
  /// /proc/zoneinfo.
  package var zones: [ZonePages] = []
  /// Lines of /proc/meminfo by name, in bytes.
  package var memory: [String: Figure] = [:]
  /// Counters of /proc/vmstat by name.
  package var counters: [String: Figure] = [:]
  /// Areas of /proc/vmallocinfo that hold threads' stacks.
  package var stackAreaCount: UInt64 = 0
  /// All areas of /proc/vmallocinfo.
  package var areaCount: UInt64 = 0

  init(line: Int) { self.line = line }

  /// Whether it holds anything.
  package var isEmpty: Bool {
    rows.isEmpty && typeRows.isEmpty && zones.isEmpty && memory.isEmpty && areaCount == 0
  }
}
