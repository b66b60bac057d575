// A copy of an input that ends where memory ends: a byte read beyond it is a fault, with and without a sanitizer.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Pages of which the last cannot be accessed.
final class GuardedBytes {
  private let pages: UnsafeMutableRawPointer
  private let capacity: Int
  private let guardSize = 65536

  /// Room for some bytes.
  init(capacity: Int) {
    self.capacity = (capacity + guardSize - 1) / guardSize * guardSize
    let flags = MAP_PRIVATE | MAP_ANONYMOUS
    guard let pages = mmap(nil, self.capacity + guardSize, PROT_READ | PROT_WRITE, flags, -1, 0),
      pages != MAP_FAILED, mprotect(pages + self.capacity, guardSize, PROT_NONE) == 0
    else { fatalError("the host has no memory") }
    self.pages = pages
  }

  deinit { munmap(pages, capacity + guardSize) }

  /// A copy of some bytes, at most as many as there is room for, whose end is that of the memory; until the next call.
  func copy(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    let copy = UnsafeMutableRawBufferPointer(start: pages + (capacity - bytes.count), count: bytes.count)
    copy.copyMemory(from: bytes)
    return UnsafeRawBufferPointer(copy)
  }

  // Used by one thread at a time.
  nonisolated(unsafe) private static var last: GuardedBytes?

  /// A copy of some bytes, until the next call.
  static func copy(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    if let last, last.capacity >= bytes.count { return last.copy(bytes) }
    let new = GuardedBytes(capacity: max(1, bytes.count))
    last = new
    return new.copy(bytes)
  }
}
