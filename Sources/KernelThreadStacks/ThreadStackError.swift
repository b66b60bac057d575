// Why there is no stack: what was asked, what there was, why it was not enough.

import KernelMachine

/// What can go wrong with thread stacks.
///
/// Nothing half-done remains when one is thrown.
public enum ThreadStackError: Error, Equatable, TextDescribable {
  /// The configuration contradicts itself or the machine.
  case configuration(StackConfigurationError)
  /// The frame source refused, after the cached stacks had been given back to it.
  case frames(FrameSourceError)
  /// So many threads wait for frames that their stacks may need, and a new stack would take frames before them.
  case refillsWait(threads: Int)
  /// The vmalloc area has no room for the slots.
  case addressSpace(StackArenaError)
  /// As many stacks as there are slots are in use.
  case slotsExhausted(capacity: Int)
  /// The group's limit leaves no room for the stack.
  case groupLimit(StackGroupRefusal)
  /// There is no such group.
  case unknownGroup(StackGroupID)
  /// The group cannot be removed: stacks are charged to it.
  case groupInUse(StackGroupID, chargedFrames: Int)
  /// There are as many groups as was configured.
  case groupsExhausted(capacity: Int)
  /// A limit is at least 0 frames.
  case invalidGroupLimit(Int)
  /// That many bytes are more than the stack has below the stack pointer.
  case beyondStack(requestedBytes: Int, availableBytes: Int)
  /// The stack is to grow for so many bytes, and this CPU's reserve has too few frames: the thread was switched in without
  /// ``ThreadStackAllocator/prepareToRun(_:mayTakeFrames:)``.
  case reserveTooSmall(requestedBytes: Int, reservedFrames: Int)
  /// The address lies in no stack of this allocator.
  case foreignAddress(VirtualAddress)
  /// The address lies in a stack's slot, but is not the stack's base.
  case unalignedAddress(VirtualAddress)
  /// The stack at this address has been freed already.
  case notLive(VirtualAddress)
  /// The address is the boot stack's, which is static and never freed.
  case bootStack(VirtualAddress)

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .configuration(let error): error.write(to: &sink)
    case .frames(let error): error.write(to: &sink)
    case .addressSpace(let error): error.write(to: &sink)
    case .refillsWait(let threads):
      sink.write(
        "%d %s for frames that their stacks may need: no new stack takes any before them",
        UInt(bitPattern: threads), sink.address(ofText: threads == 1 ? "thread waits" : "threads wait"))
    case .slotsExhausted(let capacity): sink.write("all %d stack slots are in use", capacity)
    case .groupLimit(let refusal): refusal.write(to: &sink)
    case .unknownGroup(let group): sink.write("there is no group %d", group.index)
    case .groupInUse(let group, let frames):
      sink.write("group %d cannot be removed: it has %d KiB of stack", group.index, frames &* 4)
    case .groupsExhausted(let capacity): sink.write("no group is left of the %d configured", capacity)
    case .invalidGroupLimit(let frames): sink.write("a limit of %d page frames is below 0", frames)
    case .beyondStack(let requested, let available):
      sink.write(
        "%d bytes are more than the %d that the stack has below the stack pointer", requested, available)
    case .reserveTooSmall(let requested, let frames):
      sink.write(
        frames == 1
          ? "%d bytes of stack are not mapped, and the CPU's reserve has %d frame"
          : "%d bytes of stack are not mapped, and the CPU's reserve has %d frames", requested, frames)
    case .foreignAddress(let address): sink.write("%x lies in no stack of this allocator", address.rawValue)
    case .unalignedAddress(let address): sink.write("%x is not the base of a stack", address.rawValue)
    case .notLive(let address): sink.write("the stack at %x is not in use: freed twice?", address.rawValue)
    case .bootStack(let address):
      sink.write("%x is the boot stack, which is never freed", address.rawValue)
    }
  }
}

#if !hasFeature(Embedded)
  extension ThreadStackError: CustomStringConvertible {}
  extension StackConfigurationError: CustomStringConvertible {}
#endif
