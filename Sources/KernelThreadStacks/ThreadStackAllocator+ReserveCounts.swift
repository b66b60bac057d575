// What reserves and magazines hold, looked at from outside.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// How many frames a CPU's reserve holds.
  ///
  /// Exact on that CPU, with interrupts off; a look from outside anywhere else.
  @inlinable public borrowing func reservedFrameCount(ofCPU cpu: Int) -> Int {
    reserve(ofCPU: cpu).pointee.count
  }

  /// How many freed stacks a CPU's magazine holds: exact on that CPU, with interrupts off.
  @inlinable public borrowing func cachedStackCount(ofCPU cpu: Int) -> Int { record(ofCPU: cpu).pointee.count }
}
