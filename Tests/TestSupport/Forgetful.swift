// A machine with a planted mistake.

import KernelStacks
import SimulatedMachine

/// A machine that leaves out a duty that real CPUs need and that a more lenient simulation would not miss.
package struct Forgetful: ForwardingMachine {
  /// The duties that a machine may leave out.
  package enum Duty: CaseIterable, Sendable {
    /// Table entries need not have arrived.
    case publication
    /// No translation is ever dropped.
    case invalidation
    /// Only the translations of the first page of a range are dropped.
    case allButTheFirstPage
    /// Translations are dropped, the entries of tables above them are not.
    case tableEntries
    /// Entries of the kernel's tables that were cached while a process ran are not dropped: they bear its ASID.
    case otherASIDs
  }

  package let base: Simulated
  let forgotten: Duty?

  /// - Parameter forgotten: the duty that is left out; `nil` for none.
  package init(_ base: Simulated, forgetting forgotten: Duty?) {
    self.base = base
    self.forgotten = forgotten
  }

  package func publishEntries() {
    if forgotten != .publication { base.publishEntries() }
  }

  package func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
    switch forgotten {
    case .invalidation: base.publishEntries()
    case .allButTheFirstPage:
      base.invalidate(VirtualAddressRange(pages.lowerBound, byteCount: 4096), in: space, scope: scope)
    case .tableEntries: base.invalidate(pages, in: space, scope: .leaves)
    case .otherASIDs:
      base.invalidate(pages, in: space, scope: scope) { instruction in
        switch instruction {
        case .vaae1is: .vae1is
        case .vaale1is: .vale1is
        default: instruction
        }
      }
    case .publication, nil: base.invalidate(pages, in: space, scope: scope)
    }
  }
}
