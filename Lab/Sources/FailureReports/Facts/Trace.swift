// The call trace of a report.

/// Who has asked for the memory, innermost call first.
package struct Trace: Equatable, Sendable {
  /// A function of the trace.
  package struct Entry: Equatable, Sendable {
    /// The name without the compiler's suffixes.
    package var name: String
    /// The line of the file.
    package var line: Int
  }

  /// The functions that the kernel is sure of.
  package var entries: [Entry] = []
  /// Functions that the kernel is not sure of, where it is sure of none: kernels without frame pointers print all so.
  package var doubtful: [Entry] = []
  /// Whether addresses have 32 bits; `nil` if none was printed.
  package var has32BitAddresses: Bool?
  /// Whether functions stood behind blanks or an address, as kernels print them.
  private var isIndented = false
  /// Whether names may be cut or mixed, so that a name that decides nothing proves nothing either.
  package var isDamaged = false

  /// Whether it is the traces of two reports: one has each function that prints it only once.
  private(set) var isOfTwo = false

  private static let greatestDepth = 64
  private static let reporters: Set<String> = [
    "dump_stack", "dump_stack_lvl", "dump_header", "warn_alloc", "warn_alloc_failed", "out_of_memory",
    "oom_kill_process", "mem_cgroup_out_of_memory",
  ]
  /// How the names of all functions begin that report, and stand above those that asked.
  private static let reporterPrefixes = [
    "dump_", "__dump_", "show_", "__show_", "unwind_", "walk_stack", "print_", "warn_", "oom_", "out_of_memory",
    "panic",
    "check_panic", "mem_cgroup_oom", "mem_cgroup_out", "mem_cgroup_print", "save_stack", "arch_", "backtrace",
    "nmi_",
  ]
  private static func isReporter(_ name: String) -> Bool { reporterPrefixes.contains { name.hasPrefix($0) } }
  /// Whether functions stood behind their addresses, as kernels print all or none.
  private var hasAddresses: Bool?
  /// How far in the last function the call was, if printed.
  private var lastOffset: UInt64?

  /// How many functions with an offset stand in a message.
  private static func offsetCount(_ bytes: [UInt8]) -> Int {
    var count = 0
    var index = 0
    while let found = bytes.offset(of: "+0x", from: index) {
      count += 1
      index = found + 3
    }
    return count
  }

  /// Whether there is any function in it.
  var hasFunctions: Bool { !entries.isEmpty || !doubtful.isEmpty }

  /// Whether the slab allocator has asked for the memory.
  var hasSlabAllocator: Bool {
    entries.contains { entry in
      ["slab", "kmem_cache", "kmalloc", "cache_alloc", "cache_grow"].contains { entry.name.contains($0) }
    }
  }

  /// Whether a message is nothing but functions of a trace.
  static func isEntry(_ text: TextLine) -> Bool {
    var trace = Trace()
    return text.joints.isEmpty && trace.add(text) && !trace.isDamaged && !trace.entries.isEmpty
  }

  /// Notes a heading; a second one begins the trace of another report.
  mutating func noteHeading() {
    if hasHeading { isOfTwo = true }
    hasHeading = true
  }
  private var hasHeading = false

  /// Adds what a message tells, and returns whether it is a part of a trace.
  mutating func add(_ text: TextLine) -> Bool {
    let bytes = text.bytes
    guard bytes.contains("+0x") || bytes.contains(" from ") || bytes.contains("[<") || bytes.contains(".c:")
    else {
      // A lone word between functions is the beginning or the end of a name.
      let word = bytes.filter { $0 != .blank }
      if !entries.isEmpty, !word.isEmpty, word.allSatisfy({ $0.isWord || $0 == UInt8(ascii: ".") }) {
        isDamaged = true
      }
      return false
    }
    noteWidth(text)
    // A register's value is what was interrupted, or what has failed, not a function that called another.
    for register: StaticString in ["RIP:", "pc :", "lr :", "PC is at", "LR is at", "EIP:", "NIP ["]
    where bytes.contains(register) {
      return true
    }
    var scanner = ByteScanner(bytes)
    var found = 0
    // A name whose beginning is missing is none.
    defer { if found == 0 || found < Self.offsetCount(bytes) { isDamaged = true } }
    while !scanner.isAtEnd {
      guard scanner.current.isLetter || scanner.current == UInt8(ascii: "_"), !scanner.peek(-1).isWord,
        scanner.peek(-1) != UInt8(ascii: ".")
      else {
        scanner.index += 1
        continue
      }
      let start = scanner.index
      let name = scanner.run { $0.isWord || $0 == UInt8(ascii: ".") }
      guard name.count > 2, isSymbol(&scanner) else { continue }
      found += 1
      if text.joints.contains(where: { $0.offset >= start - 1 && $0.offset <= name.upperBound })
        || isCut(bytes, before: start) || start == 0 && isIndented
        || isHalfBracketed(bytes, start, &scanner)
      {
        isDamaged = true
      }
      if start > 0 { isIndented = true }
      var before = start - 1
      while before >= 0, bytes[before] == .blank || bytes[before] == UInt8(ascii: "[") { before -= 1 }
      if before >= 0, bytes[before] == UInt8(ascii: "?") {
        if doubtful.count < Self.greatestDepth {
          doubtful.append(Entry(name: Self.plain(bytes.text(name)), line: text.number(at: start)))
        }
        continue
      }
      let hasAddress = bytes.contains("[<")
      if let hasAddresses, hasAddresses != hasAddress { isOfTwo = true }
      hasAddresses = hasAddress
      guard entries.count < Self.greatestDepth else { continue }
      let entry = Entry(name: Self.plain(bytes.text(name)), line: text.number(at: start))
      // Arm prints each function twice: once as the caller, once as the callee, with the same offset or without one.
      var afterName = ByteScanner(bytes, at: name.upperBound)
      let offset = afterName.take("+0x") ? afterName.hexNumber() : nil
      let isOtherHalf =
        entries.last?.name == entry.name && (offset == nil || lastOffset == nil || offset == lastOffset)
      lastOffset = offset
      if isOtherHalf { continue }
      if Self.reporters.contains(entry.name),
        entries.contains(where: { $0.name == entry.name || !Self.isReporter($0.name) })
      {
        isOfTwo = true
      }
      if entries.last?.name != entry.name { entries.append(entry) }
    }
    return found > 0
  }

  /// Whether what was just read is a function: an offset, a place in a source file, or Arm's `(name) from` follows.
  private func isSymbol(_ scanner: inout ByteScanner) -> Bool {
    let after = scanner.index
    if scanner.take("+0x") { return scanner.hexNumber() != nil }
    if scanner.take(UInt8(ascii: "+")) { return scanner.number() != nil && scanner.take(UInt8(ascii: "/")) }
    if scanner.take(") from") { return true }
    if scanner.take(" from ") {
      let caller = scanner.run { $0.isWord || $0 == UInt8(ascii: ".") }
      let isSymbol = !caller.isEmpty && scanner.take("+0x")
      // The caller is read next, as a symbol of its own.
      scanner.index = isSymbol ? caller.lowerBound : after
      return isSymbol
    }
    scanner.skipBlanks()
    if scanner.take(UInt8(ascii: "(")) {
      let file = scanner.run {
        $0.isWord || $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-")
      }
      let isSource = file.count > 2 && scanner.bytes[file.upperBound - 2] == UInt8(ascii: ".")
      if isSource, scanner.take(UInt8(ascii: ":")), scanner.number() != nil { return true }
    }
    scanner.index = after
    return false
  }

  /// Whether other words stand right before a name, so that it may be the rest of a longer one.
  private func isCut(_ bytes: [UInt8], before start: Int) -> Bool {
    var index = start - 1
    while index >= 0, bytes[index] == .blank { index -= 1 }
    guard index >= 0 else { return false }
    // An address, a question mark, or Arm's `from` may.
    if !bytes[index].isWord { return false }
    let end = index + 1
    while index >= 0, bytes[index].isWord { index -= 1 }
    let word = bytes[index + 1..<end]
    return word.elementsEqual("from".utf8) ? false : !word.allSatisfy(\.isHexDigit)
  }

  /// Whether a closing bracket follows a name, and no opening one stands before it: its beginning is missing.
  private func isHalfBracketed(_ bytes: [UInt8], _ start: Int, _ scanner: inout ByteScanner) -> Bool {
    let after = scanner.index
    defer { scanner.index = after }
    _ = scanner.run { $0.isHexDigit || $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "x") }
    return scanner.current == UInt8(ascii: ")") && (start == 0 || bytes[start - 1] != UInt8(ascii: "("))
  }

  private mutating func noteWidth(_ text: TextLine) {
    let bytes = text.bytes
    guard let open = bytes.offset(of: "[<"), !text.hasJoint(in: 0...open + 18) else { return }
    var scanner = ByteScanner(bytes, at: open + 2)
    let digits = scanner.run(while: \.isHexDigit)
    guard scanner.take(">]") else { return }
    guard digits.count == 8 || digits.count == 16 else { return }
    if let has32BitAddresses, has32BitAddresses != (digits.count == 8) { isOfTwo = true }
    has32BitAddresses = digits.count == 8
  }

  /// A name without `.part.8`, `.isra.0`, `.constprop.0`, `.cold`, and without the kind of Arm's and x86's system calls.
  static func plain(_ name: String) -> String {
    guard let dot = name.firstIndex(of: "."), dot != name.startIndex else { return name }
    return String(name[..<dot])
  }
}
