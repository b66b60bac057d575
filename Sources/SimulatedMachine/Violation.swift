// A broken rule, which correct code never breaks, whether or not the run was harmed.

import KernelMachine

/// One broken rule, with the addresses and the CPU involved.
public struct Violation: Equatable, Sendable, CustomStringConvertible {
  /// The rules that the simulation checks.
  public enum Rule: String, Equatable, Sendable {
    /// An access went, or could have gone, through a translation that is no longer in the tables.
    case staleAccess
    /// The kernel used a mapping that its maker, this CPU or another, has not published.
    case unpublishedAccess
    /// A valid entry was given another output address, type or memory kind without becoming invalid first.
    case liveEntryChanged
    /// A store went, or could have gone, through a translation that is dirty, while the entry says that it is clean.
    case dirtyStateLost
    /// An access went, or could have gone, through a cached translation, while the entry says that it is untouched.
    case accessFlagLost
    /// An address was mapped again before the invalidation of its last mapping completed.
    case addressReused
    /// A frame was reused before the invalidation of a translation that named it completed.
    case frameReused
    /// A table in use was cleared.
    case tableOverwritten
    /// A table was linked before the clearing of its frame was published.
    case unpublishedTable
    /// A table was linked at a second place.
    case tableLinkedTwice
    /// A table was linked that holds valid entries pointing outside memory.
    case garbageTable
    /// An entry has a form that is not defined for its level.
    case malformedEntry
    /// An address space identifier was given to another space while translations under it could be cached.
    case addressSpaceIDReused
    /// A CPU tried to take a lock that it holds.
    case recursiveLock
    /// A CPU waited for a lock that no CPU can release.
    case deadlock
    /// A lock was released that this CPU does not hold.
    case unlockNotHeld
    /// Interrupts were enabled while a lock is held.
    case interruptsEnabledWhileLocked
    /// A CPU's body ended while it held a lock.
    case lockHeldAtEnd
    /// A CPU's body ended with interrupts off.
    case interruptsOffAtEnd
    /// A machine call was given an address that is unaligned or not memory.
    case invalidArgument
  }

  /// The rule.
  public var rule: Rule
  /// The CPU that broke it.
  public var cpu: Int
  /// The virtual address concerned, if there is one.
  public var address: VirtualAddress?
  /// The frame that the stale or replaced translation names, or that was misused.
  public var oldFrame: PageFrame?
  /// The frame that the tables name now.
  public var newFrame: PageFrame?
  /// A description in words.
  public var detail: String

  /// The violation in one line.
  public var description: String {
    var text = "\(rule.rawValue) on CPU \(cpu): \(detail)"
    if let address { text += ", address \(hex(address))" }
    if let oldFrame { text += ", frame \(hex(oldFrame))" }
    if let newFrame { text += ", now frame \(hex(newFrame))" }
    return text
  }
}
