// The kernel's command line. It is copied at boot, since the device tree is not mapped in the final address space.
import ByteText
import DeviceTree
import KernelStacks

nonisolated(unsafe) private var bytes = InlineArray<1024, UInt8>(repeating: 0)
nonisolated(unsafe) private var byteCount = 0

/// Blank-separated words of the form `key=value`.
enum CommandLine {
  /// Copies the command line of the device tree; returns whether it fits in 1,024 bytes.
  static func copy(_ value: DeviceTreeValue) -> Bool {
    guard value.byteCount <= bytes.count else { return false }
    for index in 0..<value.byteCount {
      let byte = value.bytes[index]
      if byte == 0 { break }
      bytes[index] = byte
      byteCount = index + 1
    }
    return true
  }

  /// The whole command line.
  static var text: UnsafeRawBufferPointer {
    withUnsafePointer(to: &bytes) { UnsafeRawBufferPointer(start: $0, count: byteCount) }
  }

  /// The value of the last word with a key, or `nil` if there is none.
  static func value(of key: StaticString) -> UnsafeRawBufferPointer? {
    var found: UnsafeRawBufferPointer?
    forEachWord { word in
      if let value = Self.value(of: key, in: word) { found = value }
    }
    return found
  }

  /// Overwrites all words with a key by blanks, so that the parser of scenario options does not see the kernel's own.
  static func remove(_ key: StaticString) {
    let base = text.baseAddress
    forEachWord { word in
      guard Self.value(of: key, in: word) != nil, let base, let start = word.baseAddress else { return }
      for index in 0..<word.count { bytes[start - base + index] = UInt8(ascii: " ") }
    }
  }

  private static func value(of key: StaticString, in word: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
    let length = key.utf8CodeUnitCount
    guard word.count > length, word[length] == UInt8(ascii: "="), let base = word.baseAddress,
      UnsafeRawBufferPointer(start: base, count: length).equals(key)
    else { return nil }
    return UnsafeRawBufferPointer(start: base + length + 1, count: word.count - length - 1)
  }

  private static func forEachWord(_ body: (UnsafeRawBufferPointer) -> Void) {
    guard let base = text.baseAddress else { return }
    var start = 0
    while start < byteCount {
      var end = start
      while end < byteCount, bytes[end] != UInt8(ascii: " ") { end += 1 }
      if end > start { body(UnsafeRawBufferPointer(start: base + start, count: end - start)) }
      start = end + 1
    }
  }
}
