// Limits: a request was refused although the machine could have served it.

/// A limit that was set and reached.
package struct Limit: Equatable, Sendable {
  /// Which one.
  package enum Kind: Equatable, Sendable {
    /// The pids controller of a control group.
    case pids
    /// The memory controller of a control group.
    case memoryGroup
    /// The nodes that a cpuset or a memory policy allows.
    case nodes
    /// Threads of the user or of the machine: RLIMIT_NPROC, threads-max, pid_max.
    case threads
    /// Strict accounting of virtual memory.
    case overcommit
  }

  package var kind: Kind
  /// The line of the file.
  package var line: Int
  /// The control group, if named.
  package var group: String?
  /// How often the same line came.
  package var count = 1
}
