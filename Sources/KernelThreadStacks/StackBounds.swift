// The bounds of one stack, and what can be said of a stack pointer.

import KernelMachine

/// The addresses of a stack, or of a part of it.
public struct StackBounds: Equatable, Sendable, TextDescribable {
  /// The lowest address.
  public let base: VirtualAddress
  /// The first address above: the stack pointer of an empty stack.
  public let top: VirtualAddress

  /// The bytes from `base` up to but not including `top`.
  public init(base: VirtualAddress, top: VirtualAddress) {
    self.base = base
    self.top = top
  }

  /// The length in bytes.
  public var byteCount: Int { top - base }

  /// Whether a byte lies within.
  public func contains(_ address: VirtualAddress) -> Bool { address >= base && address < top }

  /// Whether a stack pointer is within: above the base or at it, up to and including the top.
  public func contains(stackPointer: VirtualAddress) -> Bool {
    stackPointer >= base && stackPointer <= top
  }

  /// Writes `base..<top`.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    sink.write(hex: base.rawValue)
    sink.write("..<")
    sink.write(hex: top.rawValue)
  }
}

/// Where a stack pointer, or any other address, lies.
public enum StackAddressClass: Equatable, Sendable {
  /// On a stack in use.
  case stack(StackBounds)
  /// In the guard below a stack in use: that stack has overflowed.
  case stackGuard(StackBounds)
  /// In a slot whose stack is not in use: freed, or never handed out.
  case unusedSlot(StackBounds)
  /// On the static boot stack.
  case bootStack(StackBounds)
  /// In the linear map, where a linear stack would have these bounds. Whether there is one is not recorded.
  case linearMap(StackBounds)
  /// In none of these.
  case elsewhere
  /// Not a multiple of 16, so no stack pointer at all.
  case unaligned
}
