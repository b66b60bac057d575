// What is concluded from a report.

/// Whether a request was for a thread's stack.
package enum ThreadStackAnswer: String, Sendable {
  case yes, no, unknown
}

/// Why a request failed.
package enum Cause: String, Sendable, CaseIterable {
  /// Enough is free, but not in one piece.
  case fragmentation
  /// Too little is free.
  case shortage
  /// What is free is kept for the contiguous memory allocator or another reserve.
  case contiguousReserve
  /// The only zone that may serve the request has no memory.
  case emptyZone
  /// A limit refused it; memory has nothing to do with it.
  case limit
  /// The addresses, not the memory, ran out.
  case addressSpace
  /// A kernel stack was too small for what ran on it.
  case overflow
  /// None of these: the report shows memory that would have served the request.
  case other
  /// The report does not say enough.
  case unknown
}

/// What could be done.
package enum Cure: String, Sendable, CaseIterable {
  case singlePageStacks, growingStacks, reclaim, moreMemory, smallerReserve, raiseLimit, addressSpace,
    fixOverflow
  case otherNode
}

/// A fact, and the line of the log that it was read from.
package struct Evidence: Equatable, Sendable {
  /// The line of the file; `nil` for what follows from other facts.
  package var line: Int?
  package var text: String
}

/// The verdict on one failure.
///
/// Sizes are in bytes; what is unknown is `nil`.
package struct Failure: Equatable, Sendable {
  /// The line of the file where the report begins.
  package var line: Int
  package var threadStack: ThreadStackAnswer = .unknown
  package var cause: Cause = .unknown
  package var order: Int?
  package var requestedBytes: UInt64?
  package var node: Int?
  package var zone: String?
  package var freeBytes: UInt64?
  package var usableFreeBytes: UInt64?
  package var largestFreeBlockBytes: UInt64?
  package var largestUsableBlockBytes: UInt64?
  package var singleFreePages: UInt64?
  package var pageBytes: UInt64?
  package var stackBytes: UInt64?
  package var helps: [Cure] = []
  package var helpsNot: [Cure] = []
  /// One sentence for a person who knows nothing of kernels.
  package var sentence = ""
  /// What would be needed for a verdict.
  package var missing: [String] = []
  /// Who can change it.
  package var actor = ""
  package var evidence: [Evidence] = []
  /// The thread that asked.
  package var process: String?
  /// The place of its report among the file's.
  package var report: Int?
  /// How many reports said the same.
  package var count = 1

  /// Whether the cause is known.
  package var hasVerdict: Bool { cause != .unknown }

  init(line: Int) { self.line = line }
}
