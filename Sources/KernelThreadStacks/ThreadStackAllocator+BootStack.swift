// The boot task's stack: static, part of the image, never freed.

import KernelMachine
import Synchronization

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// The boot stack's bounds, once it has been adopted.
  public var bootStack: StackBounds? {
    let base = VirtualAddress(shared.pointee.bootStackBase.load(ordering: .relaxed))
    return base.rawValue == 0 ? nil : geometry.bounds(base: base)
  }

  /// Makes the static stack known on which the kernel booted.
  ///
  /// It is told apart from all others by ``classify(stackPointer:)``, is never freed, never looked up in the vmalloc
  /// area, and not counted as kernel-stack memory, because the image has been counted already.
  ///
  /// - Parameters:
  ///   - base: its lowest address; it must lie where `current` is found by the formula of all stacks.
  ///   - firstFrame: the first of the consecutive page frames that it lies in.
  /// - Throws: ``StackConfigurationError/bootStackMisplaced(_:offBy:)`` or
  ///   ``StackConfigurationError/secondBootStack(_:)``.
  public borrowing func adoptBootStack(
    at base: VirtualAddress, firstFrame: PageFrame
  ) throws(ThreadStackError) {
    let expected = geometry.stackBase(containing: base)
    guard expected == base, base.rawValue != 0 else {
      throw .configuration(.bootStackMisplaced(base, offBy: base - expected))
    }
    let section = takeLock()
    let known = shared.pointee.bootStackBase.load(ordering: .relaxed)
    if known == 0 {
      // Look-ups read the base without the lock, and then the frame.
      shared.pointee.bootStackFrame = firstFrame.number
      shared.pointee.bootStackBase.store(base.rawValue, ordering: .releasing)
    }
    unlock(section)
    if known != 0 { throw .configuration(.secondBootStack(VirtualAddress(known))) }
  }
}
