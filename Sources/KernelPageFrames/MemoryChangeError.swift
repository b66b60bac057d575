// The errors of memory that is added to an allocator of frames, or taken back.

import KernelMachine

/// The reason why memory was not added or not removed.
///
/// Nothing has changed when one is thrown.
public enum MemoryChangeError: Error, Equatable, TextDescribable {
  /// The memory does not consist of whole page frames, or there is none.
  case notWholeFrames(PhysicalAddress)
  /// The memory does not lie in one range of the RAM that the allocator was made for.
  case outsideMemory(PhysicalAddress)
  /// The frame is not reserved, so it cannot be added.
  case notReserved(PhysicalAddress)
  /// The frame is reserved, so it cannot be removed.
  case reserved(PhysicalAddress)
  /// The frame is in use, or another CPU is freeing it.
  case inUse(PhysicalAddress)
  /// Another CPU adds or removes memory.
  case changing

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .notWholeFrames(let start): sink.write("memory at %x is not of whole frames", start.rawValue)
    case .outsideMemory(let start): sink.write("memory at %x lies in no range of RAM", start.rawValue)
    case .notReserved(let frame): sink.write("the frame at %x is used or free", frame.rawValue)
    case .reserved(let frame): sink.write("the frame at %x is reserved", frame.rawValue)
    case .inUse(let frame): sink.write("the frame at %x is in use", frame.rawValue)
    case .changing: sink.write("another CPU adds or removes memory")
    }
  }
}
