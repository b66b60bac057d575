// What reserves and magazines hold, looked at from outside.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// How many frames a CPU's reserve holds.
  ///
  /// Exact on that CPU, with interrupts off; a look from outside anywhere else. 0 for a CPU that does not exist.
  public borrowing func reservedFrameCount(ofCPU cpu: Int) -> Int {
    isCPU(cpu) ? reserve(ofCPU: cpu).pointee.count : 0
  }

  /// How many freed stacks a CPU's magazine holds: exact on that CPU, with interrupts off.
  ///
  /// 0 for a CPU that does not exist.
  public borrowing func cachedStackCount(ofCPU cpu: Int) -> Int {
    isCPU(cpu) ? record(ofCPU: cpu).pointee.count : 0
  }

  @inline(__always) func isCPU(_ cpu: Int) -> Bool {
    UInt(bitPattern: cpu) < UInt(bitPattern: layout.cpuCount)
  }
}
