// The errors of mapping and unmapping.

import KernelMachine

/// The reason why a mapping was refused, or why nothing was unmapped.
///
/// Nothing has changed when one is thrown.
public enum TranslationError: Error, Equatable, TextDescribable {
  /// The virtual address, or the length, is not a multiple of 4,096, or the length is not positive.
  case misaligned(VirtualAddress)
  /// The physical address is not a multiple of 4,096.
  case misalignedMemory(PhysicalAddress)
  /// The range goes beyond the addresses that are translated.
  case outsideSpace(VirtualAddress)
  /// The address is mapped already, or was and its invalidation has not completed.
  case occupied(VirtualAddress)
  /// No frame for a table could be allocated.
  case frames(FrameSourceError)

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .misaligned(let address):
      sink.write("the mapping at %x is not made of whole pages", address.rawValue)
    case .misalignedMemory(let address):
      sink.write("the memory at %x does not begin at a page frame", address.rawValue)
    case .outsideSpace(let address):
      sink.write("the mapping at %x goes beyond the addresses that are translated", address.rawValue)
    case .occupied(let address):
      sink.write("address %x is mapped already", address.rawValue)
    case .frames(let error):
      error.write(to: &sink)
    }
  }
}
