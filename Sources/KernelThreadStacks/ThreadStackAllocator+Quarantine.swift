// Stacks that were freed twice, kept from being handed out again.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Takes a stack out of this CPU's cache, or the depot, for good, because someone has freed it twice and may still be using it.
  ///
  /// The stack counts as lost: it stays mapped and keeps its slot, and the leak handler is told. It is legal with
  /// interrupts off.
  ///
  /// - Parameter address: the stack's base.
  /// - Returns: whether it was there.
  @discardableResult
  public borrowing func quarantine(at address: VirtualAddress) -> Bool {
    let interrupts = turnInterruptsOff()
    let record = record(ofCPU: machine.currentCPU)
    var stack = record.take(base: address, interrupts.off)
    if stack == nil {
      let section = takeLock()
      stack = depot.take(base: address, section.held)
      unlock(section)
    }
    if let stack {
      mark(stack, .quarantined(stack))
      control.pointee.reportLeak(of: stack)
    }
    restore(interrupts)
    return stack != nil
  }
}
