// A machine that calls a test at chosen moments of an operation.

import KernelStacks
import SimulatedMachine

/// A test's hooks in the middle of operations; only one CPU executes at a time.
package final class Watch: @unchecked Sendable {
  /// Called before a page-table entry is written, with the lock that guards it held.
  package var beforeStore: (() -> Void)?
  /// Called when a lock has been released and others can see what it guarded.
  package var afterUnlock: (() -> Void)?
  /// Called when an invalidation has completed.
  package var afterInvalidation: ((InvalidationScope) -> Void)?
  /// Called before a lock is released.
  package var beforeUnlock: (() -> Void)?
  /// Called before memory is cleared.
  package var beforeClear: ((VirtualAddress) -> Void)?
  /// Called before and after a page-table entry is read.
  package var beforeLoad: (() -> Void)?
  package var afterLoad: (() -> Void)?
  /// Called before a lock is taken, interrupts go off or on, or a CPU asks which one it is.
  package var beforeOthers: (() -> Void)?

  /// Has no hooks yet.
  package init() {}
}

/// The simulated machine, watched.
package struct Watched: ForwardingMachine, ExclusiveAccessMachine {
  package let base: Simulated
  let watch: Watch

  /// - Parameter watch: the hooks to call.
  package init(_ base: Simulated, _ watch: Watch) {
    self.base = base
    self.watch = watch
  }

  package func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {
    watch.beforeStore?()
    base.writeEntry(entry, at: address)
  }

  package func readEntry(at address: PhysicalAddress) -> PageTableEntry {
    watch.beforeLoad?()
    let entry = base.readEntry(at: address)
    watch.afterLoad?()
    return entry
  }

  package func updateEntry(
    atLinear address: VirtualAddress, _ update: (PageTableEntry) -> PageTableEntry?
  ) -> PageTableEntry? {
    watch.beforeLoad?()
    return base.updateEntry(atLinear: address) { entry in
      watch.afterLoad?()
      return update(entry)
    }
  }

  package func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
    base.invalidate(pages, in: space, scope: scope)
    watch.afterInvalidation?(scope)
  }

  package var currentCPU: Int {
    watch.beforeOthers?()
    return base.currentCPU
  }
  package var currentNode: NodeID {
    watch.beforeOthers?()
    return base.currentNode
  }
  package func clear(_ address: VirtualAddress, byteCount: Int) {
    watch.beforeClear?(address)
    base.clear(address, byteCount: byteCount)
  }
  package func disableInterrupts() -> InterruptState {
    watch.beforeOthers?()
    return base.disableInterrupts()
  }
  package func restoreInterrupts(_ state: InterruptState) {
    watch.beforeOthers?()
    base.restoreInterrupts(state)
  }
  package func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState {
    watch.beforeOthers?()
    return base.lock(lock)
  }
  package func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {
    watch.beforeUnlock?()
    base.unlock(lock, restoring: state)
    watch.afterUnlock?()
  }
}
