// The lines that reports begin with.

/// Reads the first line of a report.
enum RequestLine {
  /// The request that a message is about, or `nil`.
  static func read(_ text: TextLine) -> Request? {
    let bytes = text.bytes
    guard
      bytes.contains("alloc") || bytes.contains("oom") || bytes.contains("Alloc") || bytes.contains("thread")
    else { return nil }
    return pageAllocation(text) ?? outOfMemory(text) ?? allocationFailed24(text) ?? processMemory(text)
      ?? addressRange(text) ?? slab(text) ?? fork(text)
  }

  private static func pageAllocation(_ text: TextLine) -> Request? {
    let bytes = text.bytes
    if let place = bytes.offset(ofPhrase: "page allocation failure") {
      return request(.pageAllocation, text, at: place)
    }
    if let place = bytes.offset(ofPhrase: "page allocation stalls") { return request(.stall, text, at: place) }
    return nil
  }

  private static func outOfMemory(_ text: TextLine) -> Request? {
    let bytes = text.bytes
    if let place = bytes.offset(ofPhrase: "invoked oom-killer") {
      return request(.outOfMemory, text, at: place)
    }
    // 2.6.10 and before.
    if let place = bytes.offset(of: "oom-killer: gfp_mask=") { return request(.outOfMemory, text, at: place) }
    return nil
  }

  /// A request of a page allocation, with the process in front of `place`.
  private static func request(_ kind: Request.Kind, _ text: TextLine, at place: Int) -> Request {
    var result = Request(kind: kind, line: text.number(at: place))
    result.process = process(before: place, in: text.bytes)
    result.order = order(text, from: place, isByHand: &result.isByHand)
    result.mode = AllocationMode(in: text, from: place)
    return result
  }

  /// `order:3`, `order=3`.
  private static func order(_ text: TextLine, from start: Int, isByHand: inout Bool) -> Figure? {
    let bytes = text.bytes
    var index = start
    while let found = bytes.offset(of: "order", from: index) {
      index = found + 5
      var scanner = ByteScanner(bytes, at: index)
      scanner.skipBlanks()
      guard scanner.take(UInt8(ascii: ":")) || scanner.take(UInt8(ascii: "=")) else { continue }
      scanner.skipBlanks()
      if scanner.take("-1") {
        isByHand = true
        return nil
      }
      let first = scanner.index
      guard let number = scanner.number(), number < 19,
        first + 1 == scanner.index || !text.hasJoint(in: first + 1...scanner.index - 1)
      else { return nil }
      // A number at the very end may be cut off; only kernels before 2.6.17 print nothing after it.
      scanner.skipBlanks()
      if scanner.isAtEnd && bytes.contains("invoked") || scanner.isAtEnd && bytes.contains("page alloc") {
        return nil
      }
      return Figure(value: number, line: text.number(at: found))
    }
    return nil
  }

  /// The name of the thread in front of `: page allocation …` or ` invoked …`: at most 15 characters, blanks allowed.
  private static func process(before place: Int, in bytes: [UInt8]) -> String? {
    var end = place
    while end > 0, bytes[end - 1] == .blank || bytes[end - 1] == UInt8(ascii: ":") { end -= 1 }
    var begin = end
    while begin > 0, end - begin < 48, bytes[begin - 1] != UInt8(ascii: "]"),
      bytes[begin - 1] != UInt8(ascii: ">")
    {
      begin -= 1
    }
    while begin < end, bytes[begin] == .blank { begin += 1 }
    if end - begin > 32 {
      // Other output stands in front of it.
      begin = end
      while begin > 0, bytes[begin - 1] > .blank { begin -= 1 }
    }
    guard end > begin, end - begin < 64 else { return nil }
    return bytes.text(begin..<end)
  }

  /// 2.4: `__alloc_pages: 3-order allocation failed (gfp=0x20/0) from c012…`.
  private static func allocationFailed24(_ text: TextLine) -> Request? {
    let bytes = text.bytes
    guard let place = bytes.offset(ofPhrase: "-order allocation failed") else { return nil }
    var begin = place
    while begin > 0, bytes[begin - 1].isDigit { begin -= 1 }
    guard begin < place, let order = UInt64(bytes.text(begin..<place)), order < 19 else { return nil }
    let line = text.number(at: begin)
    return Request(
      kind: .pageAllocation, line: line, order: Figure(value: order, line: line),
      mode: AllocationMode(in: text, from: place, labels: ["gfp="]),
      isInFull: false)
  }

  /// Without an MMU: `Allocation of length 1052672 from process 57 (name) failed`.
  private static func processMemory(_ text: TextLine) -> Request? {
    let bytes = text.bytes
    guard let place = bytes.offset(ofPhrase: "Allocation of length ") else { return nil }
    var scanner = ByteScanner(bytes, at: place)
    _ = scanner.run { !$0.isDigit }
    guard let size = scanner.wholeNumber(in: text),
      bytes.offset(ofPhrase: "from process", from: scanner.index) != nil
    else { return nil }
    let line = text.number(at: place)
    var result = Request(kind: .processMemory, line: line, size: Figure(value: size, line: line))
    _ = scanner.run { $0 != UInt8(ascii: "(") }
    if scanner.take(UInt8(ascii: "(")) {
      let name = scanner.run { $0 != UInt8(ascii: ")") }
      if scanner.current == UInt8(ascii: ")") { result.process = bytes.text(name) }
    }
    return result
  }

  private static func addressRange(_ text: TextLine) -> Request? {
    let bytes = text.bytes
    let line: Int
    var scanner: ByteScanner
    if let place = bytes.offset(ofPhrase: "vmap allocation for size ") {
      scanner = ByteScanner(bytes, at: place)
      line = text.number(at: place)
    } else if let place = bytes.offset(ofPhrase: "vmalloc_node_range for size ") {
      scanner = ByteScanner(bytes, at: place)
      line = text.number(at: place)
    } else if let place = bytes.offset(ofPhrase: "allocation failed: out of vmalloc space") {
      return Request(kind: .addressRange, line: text.number(at: place), isInFull: false)
    } else {
      return vmalloc(text)
    }
    _ = scanner.run { !$0.isDigit }
    var result = Request(kind: .addressRange, line: line, isInFull: false)
    if let size = scanner.wholeNumber(in: text), scanner.takeWord("failed") {
      result.size = Figure(value: size, line: line)
    }
    return result
  }

  /// `insmod: vmalloc error: size 16384, vm_struct allocation failed`, `vmalloc: allocation failure: 16384 bytes`.
  ///
  /// Both say that no range of addresses was found; the same functions say in other words that no page was.
  private static func vmalloc(_ text: TextLine) -> Request? {
    let bytes = text.bytes
    guard
      let place = bytes.offset(ofPhrase: "vmalloc error: size ")
        ?? bytes.offset(ofPhrase: "vmalloc: allocation failure: ")
    else { return nil }
    let line = text.number(at: place)
    var scanner = ByteScanner(bytes, at: place)
    _ = scanner.run { !$0.isDigit }
    var size = scanner.wholeNumber(in: text).map { Figure(value: $0, line: line) }
    if !scanner.takeWord("bytes"), !scanner.take(UInt8(ascii: ",")) { size = nil }
    var result = Request(kind: .addressRange, line: line, mode: AllocationMode(in: text), size: size)
    if !bytes.contains("vmalloc error") {
      // Kernels before 4.10 print the thread and the mode as a page allocation failure of their own.
      result.isInFull = result.mode != nil
      result.isByVmalloc = result.mode == nil
      if result.mode != nil { result.process = process(before: place, in: bytes) }
    } else {
      result.process = process(before: place, in: bytes)
      if bytes.contains(phrase: "failed to allocate pages") {
        result.kind = .pageAllocation
        result.size = nil
        if let order = bytes.offset(ofPhrase: "page order ") {
          var digits = ByteScanner(bytes, at: order + 11)
          digits.skipBlanks()
          result.order = digits.number().map { Figure(value: $0, line: line) }
        } else {
          result.order = Figure(value: 0, line: line)
        }
      } else if bytes.contains(phrase: "exceeds total pages") {
        result.isRefusedAlways = true
      } else if !bytes.contains(phrase: "vm_struct allocation failed") {
        return nil
      }
    }
    if size?.value == 0 { result.isRefusedAlways = true }
    return result
  }

  /// `SLUB: Unable to allocate memory on node -1 (gfp=0x20)`.
  private static func slab(_ text: TextLine) -> Request? {
    guard let place = text.bytes.offset(ofPhrase: "Unable to allocate memory on"),
      text.bytes.contains("SLUB") || text.bytes.contains("SLAB")
    else { return nil }
    return Request(kind: .slab, line: text.number(at: place), mode: AllocationMode(in: text, from: place))
  }

  /// `nsenter: Unable to fork: Cannot allocate memory`, `unable to create native thread`.
  private static func fork(_ text: TextLine) -> Request? {
    let bytes = text.bytes
    let place: Int
    if bytes.contains("pthread_create"), bytes.contains("EAGAIN") || bytes.contains("temporarily unavailable") {
      place = bytes.offset(of: "pthread_create") ?? 0
    } else if let found = bytes.offset(ofPhrase: "annot allocate memory") {
      guard bytes.contains("fork") || bytes.contains("clone") || bytes.contains("thread") else { return nil }
      place = found
    } else if let found = bytes.offset(ofPhrase: "nable to create new native thread")
      ?? bytes.offset(ofPhrase: "nable to create native thread")
    {
      place = found
    } else {
      return nil
    }
    var result = Request(kind: .fork, line: text.number(at: place))
    var scanner = ByteScanner(bytes)
    scanner.skipBlanks()
    _ = scanner.take(UInt8(ascii: "-"))
    let name = scanner.run { $0.isWord || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
    if !name.isEmpty, name.count < 32, scanner.current == UInt8(ascii: ":") {
      result.process = bytes.text(name)
    }
    return result
  }
}
