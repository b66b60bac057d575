// The storage of a lock. How it is taken is the machine's business; that interrupts are off while it is held is not.

/// The memory of one spin lock.
///
/// All zero is unlocked. A machine decides what the bits mean.
public struct SpinLock: Sendable {
  /// The machine's own.
  public var word: UInt64

  /// An unlocked lock.
  public init() { word = 0 }
}

/// Whether interrupts were enabled before they were disabled; opaque to all but the machine.
public struct InterruptState: Equatable, Sendable {
  /// The machine's own (on AArch64: DAIF).
  public var rawValue: UInt

  /// Wraps the machine's own value.
  public init(rawValue: UInt) { self.rawValue = rawValue }
}
