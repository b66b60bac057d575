// What was unmapped from sleeping threads' stacks and waits for one invalidation.

import KernelMachine

/// The pages that have been taken off stacks and may still be in some CPU's TLB.
///
/// Whoever shrinks stacks keeps one and passes it to
/// ``ThreadStackAllocator/retireDeadPages(of:below:into:)``, stack after stack, then to
/// ``ThreadStackAllocator/completeInvalidation(of:)``. It has no memory of its own: the pages are named by their own
/// invalid entries.
public struct ShrinkBatch: Sendable {
  /// The lowest page, and the first address above the highest.
  var lowest: UInt = .max
  var end: UInt = 0
  var count = 0

  /// A batch without pages.
  public init() {}

  /// How many pages wait for the invalidation.
  public var pageCount: Int { count }

  /// Whether there is nothing to invalidate.
  public var isEmpty: Bool { count == 0 }

  /// What one invalidation has to cover; `nil` if nothing waits.
  public var range: VirtualAddressRange? {
    isEmpty ? nil : VirtualAddressRange(VirtualAddress(lowest), VirtualAddress(end))
  }

  /// Adds pages that lie side by side; `count` is above 0.
  mutating func add(_ first: VirtualAddress, end: VirtualAddress, count: Int) {
    if first.rawValue < lowest { lowest = first.rawValue }
    if end.rawValue > self.end { self.end = end.rawValue }
    self.count &+= count
  }
}
