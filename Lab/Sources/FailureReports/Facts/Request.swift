// The request that failed.

/// What was asked for, as the first line of a report says it.
package struct Request: Equatable, Sendable {
  /// What kind of report it begins.
  package enum Kind: Equatable, Sendable {
    /// `page allocation failure`
    case pageAllocation
    /// `page allocation stalls`: not refused yet, but waiting.
    case stall
    /// `invoked oom-killer`
    case outOfMemory
    /// A range of addresses for pages to be mapped side by side.
    case addressRange
    /// A slab cache.
    case slab
    /// A block for a process of a kernel without an MMU.
    case processMemory
    /// A program's own words: it could not fork, and says nothing else.
    case fork
  }

  package var kind: Kind
  /// The line of the file.
  package var line: Int
  /// The name of the thread that asked.
  package var process: String?
  /// The order of the block.
  package var order: Figure?
  /// Whether the order was negative: the administrator has called for the OOM killer.
  package var isByHand = false
  /// Whether no machine like this one would serve it: it was for no bytes, or for more than there is memory.
  package var isRefusedAlways = false
  package var mode: AllocationMode?
  /// Whether it is reported in full, with a trace and figures: failures of 2.4 and failed searches for addresses are not.
  package var isInFull = true
  /// Whether vmalloc has printed the size that it wanted, before its report.
  package var isByVmalloc = false
  /// The size in bytes, where the kernel prints one.
  package var size: Figure?
  /// The name of the slab cache.
  package var cache: String?
}
