// What a request lets the page allocator do (the kernel's "gfp" flags).

/// The mode of a request.
package struct AllocationMode: Equatable, Sendable {
  /// The flags as a number, if printed.
  package var bits: UInt64?
  /// Their names, if printed (since 4.6).
  package var names: [String] = []
  /// The line of the file.
  package var line: Int
  /// Whether names were printed and are cut off: the number then means what it does in later kernels.
  var hasLostNames = false
  /// Whether the number is so short, and stands so near a cut, that it could be the beginning of another one.
  var isPerhapsCut = false

  private func has(_ name: String) -> Bool { names.contains(name) }

  /// The highest zone that the request may be served from, by its flags.
  ///
  /// The four lowest bits have been the same since 2.4.
  package var highestZone: String {
    if has("GFP_DMA") || has("__GFP_DMA") { return "DMA" }
    if has("GFP_DMA32") || has("__GFP_DMA32") { return "DMA32" }
    if isForUser || has("__GFP_MOVABLE") && has("__GFP_HIGHMEM") { return "Movable" }
    if has("__GFP_HIGHMEM") || names.contains(where: { $0.hasPrefix("GFP_HIGHUSER") }) { return "HighMem" }
    if !names.isEmpty { return "Normal" }
    guard let bits else { return "Normal" }
    if bits & 1 != 0 { return "DMA" }
    if bits & 2 != 0 { return bits & 8 != 0 ? "Movable" : "HighMem" }
    return bits & 4 != 0 ? "DMA32" : "Normal"
  }

  private var isForUser: Bool {
    names.contains { $0.hasPrefix("GFP_HIGHUSER_MOVABLE") || $0.hasPrefix("GFP_TRANSHUGE") }
  }

  /// Whether the request may wait until memory is reclaimed; `nil` if unknown.
  package var mayWait: Bool? {
    if !names.isEmpty {
      if names.contains(where: { $0.hasPrefix("GFP_ATOMIC") || $0.hasPrefix("GFP_NOWAIT") }) { return false }
      return names.contains {
        $0.hasPrefix("GFP_") || $0 == "__GFP_RECLAIM" || $0 == "__GFP_DIRECT_RECLAIM" || $0 == "__GFP_WAIT"
      }
    }
    guard let bits, !hasLostNames, !isPerhapsCut else { return nil }
    // 4.4 and 4.5 print a number only, and have split the flag for waiting in two.
    if bits & 0x240_0000 != 0 { return bits & 0x40_0000 != 0 }
    return bits & 0x10 != 0
  }

  /// Whether the request may take half of the memory below the watermark (`__GFP_HIGH`).
  package var isUrgent: Bool {
    names.isEmpty ? oldBits & 0x20 != 0 : has("GFP_ATOMIC") || has("__GFP_HIGH")
  }

  /// Whether it can only be memory of a user, or memory that may be moved.
  var isMovable: Bool {
    if !names.isEmpty {
      return isForUser || has("__GFP_MOVABLE") || names.contains { $0.hasPrefix("GFP_HIGHUSER") }
        || has("GFP_USER")
    }
    return (bits ?? 0) & 0x0a != 0
  }

  /// Whether it may start I/O and enter file systems, as a fork may.
  var mayEnterFileSystems: Bool? {
    if !names.isEmpty {
      if has("GFP_NOFS") || has("GFP_NOIO") { return false }
      return names.contains {
        $0.hasPrefix("GFP_KERNEL") || $0.hasPrefix("GFP_USER") || $0.hasPrefix("GFP_HIGHUSER")
      } || has("__GFP_FS")
        ? true : nil
    }
    guard let bits, !hasLostNames, !isPerhapsCut else { return nil }
    return bits & 0x80 != 0
  }

  /// Whether the request is for a compound page, as those of slabs and of kmalloc are.
  var isCompound: Bool { names.isEmpty ? oldBits & 0x4000 != 0 : has("__GFP_COMP") }

  /// The number, where it means what it does in kernels that print no names.
  private var oldBits: UInt64 { hasLostNames || isPerhapsCut ? 0 : bits ?? 0 }

  /// Whether the memory is hidden from kmemcheck, which kernels before 4.14 ask for stacks.
  ///
  /// Page tables are asked for in the same way, but with repetition.
  var isUntracked: Bool {
    if !names.isEmpty { return has("__GFP_NOTRACK") && !has("__GFP_REPEAT") }
    return oldBits & 0x20_0000 != 0 && oldBits & 0x400 == 0
  }

  /// Whether the flags are those of a thread's stack in 4.14 and later, and no others.
  var isAccountedAndZeroed: Bool { Set(names) == ["GFP_KERNEL_ACCOUNT", "__GFP_ZERO"] }

  /// Whether only one node may serve the request.
  var isForOneNode: Bool { has("__GFP_THISNODE") }

  /// The flags as the report has them.
  package var description: String {
    if !names.isEmpty { return names.joined(separator: "|") }
    return bits.map { "0x" + String($0, radix: 16) } ?? "unknown"
  }

  /// The mode behind the first label in a message, from an offset on, or `nil`.
  init?(
    in text: TextLine, from start: Int = 0,
    labels: [StaticString] = ["gfp_mask=", "mode:", "gfp=", "gfp_flags=", "mode="]
  ) {
    let bytes = text.bytes
    let places = labels.compactMap { label in
      bytes.offset(of: label, from: start).map { $0 + label.utf8CodeUnitCount }
    }
    guard let place = places.min() else { return nil }
    var scanner = ByteScanner(bytes, at: place)
    scanner.skipBlanks()
    line = text.number(at: place)
    if scanner.take("0x") {
      let start = scanner.index
      guard let number = scanner.hexNumber() else { return nil }
      bits = number
      let end = scanner.index
      scanner.skipBlanks()
      // Where it was wrapped, one number cannot be told from two.
      let isWrapped = end > start + 1 && text.hasJoint(in: start + 1...end - 1)
      if scanner.isAtEnd || isWrapped || ![UInt8(ascii: "("), 0x2c, 0x29, 0x2f].contains(scanner.current) {
        // Where nothing follows that belongs to it, some digits may be missing.
        guard Self.isPlausible(number), !isWrapped || scanner.current == UInt8(ascii: "(") else { return nil }
        isPerhapsCut = end - start < 4
      }
    }
    scanner.skipBlanks()
    if scanner.take(UInt8(ascii: "(")) {
      let flags = scanner.run { $0.isWord || $0 == UInt8(ascii: "|") || $0 == .blank }
      // Without its end the list of flags may lack some.
      guard scanner.current == UInt8(ascii: ")") else {
        if bits == nil { return nil }
        hasLostNames = true
        return
      }
      let list = Array(bytes[flags]).filter { $0 != .blank }
      names = list.split(separator: UInt8(ascii: "|")).map { String(decoding: $0, as: UTF8.self) }
    }
    if bits == nil && names.isEmpty { return nil }
  }

  /// Whether a kernel that prints numbers only could have printed this one.
  private static func isPlausible(_ bits: UInt64) -> Bool {
    // At most one zone, but user pages, which may be moved and lie in HighMem.
    guard [0, 1, 2, 4, 8, 0xa].contains(bits & 0xf) else { return false }
    // 4.4 and 4.5 have flags of their own for waiting.
    if bits & 0x240_0000 != 0 { return true }
    // GFP_NOIO, ATOMIC, NOFS, KERNEL, and these with __GFP_HIGH.
    return [0x10, 0x20, 0x30, 0x50, 0x70, 0xd0, 0xf0].contains(bits & 0xf0)
  }
}
