// What a function has to be called with: tokens of no size, without which a call does not compile.
//
//     token             who has it                            what it may touch
//     InterruptsOff     code that runs with interrupts off    its CPU's record: magazine, counts, reserve
//     LockHeld          the holder of the allocator's lock    slots, ring, depots, refill pool, accounts (StackControl)
//
//     let interrupts = turnInterruptsOff()                let section = takeLock()
//     record.push(stack, at: room, interrupts.off)        depot.put(stack, section.held)
//     restore(interrupts)                                 unlock(section)
//
// A token cannot be copied or kept: it lies in a section, is lent to what is called meanwhile, and is gone when the section
// ends, which consumes it. Interrupts are off while the lock is held, so a lock section lends both.

import KernelMachine

/// Says that interrupts are off on this CPU.
struct InterruptsOff: ~Copyable {
  @inline(__always) fileprivate init() {}

  /// A token on the word of a kernel, which calls from an exception handler or its switch: interrupts are off already.
  ///
  /// These calls are too frequent to turn them off again, and a kernel has no token.
  @inline(__always) static func promised() -> InterruptsOff { InterruptsOff() }
}

/// Says that this CPU holds the allocator's lock.
struct LockHeld: ~Copyable {
  let off = InterruptsOff()

  @inline(__always) fileprivate init() {}
}

/// The time from turning interrupts off to restoring them.
struct InterruptSection: ~Copyable {
  let off = InterruptsOff()
  /// How they were before.
  fileprivate let state: InterruptState
}

/// The time from taking the allocator's lock to releasing it.
struct LockSection: ~Copyable {
  let held = LockHeld()
  /// How interrupts were before.
  fileprivate let state: InterruptState

  @inline(__always) fileprivate init(state: InterruptState) { self.state = state }

  /// The section that goes on where ``keep()`` has ended one.
  @inline(__always) init(_ kept: KeptLock) { state = kept.state }

  /// Ends the section with the lock held, for a closure: that cannot end a section which began outside it.
  @inline(__always) consuming func keep() -> KeptLock { KeptLock(state: state) }
}

/// A lock between two sections, the second of which is to be made once.
struct KeptLock {
  fileprivate let state: InterruptState
}

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Turns interrupts off on this CPU.
  @inline(__always) func turnInterruptsOff() -> InterruptSection {
    InterruptSection(state: machine.disableInterrupts())
  }

  /// Restores interrupts to what they were before.
  @inline(__always) func restore(_ section: consuming InterruptSection) {
    machine.restoreInterrupts(section.state)
  }

  /// Takes the allocator's lock.
  @inline(__always) func takeLock() -> LockSection { LockSection(state: machine.lock(lock)) }

  /// Releases the allocator's lock.
  @inline(__always) func unlock(_ section: consuming LockSection) {
    machine.unlock(lock, restoring: section.state)
  }
}
