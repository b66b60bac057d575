// Files of any size, a megabyte at a time.

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Reads files and examines them without holding more than a line and a piece in memory.
package enum LineReader {
  /// The length at which a line is given up.
  package static let greatestLineLength = 16 << 20
  private static let pieceLength = 1 << 20

  /// Examines the file at `path`.
  package static func examine(path: String) throws(InputProblem) -> FileReport {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .unreadable(String(cString: strerror(errno))) }
    defer { close(descriptor) }
    return try examine(descriptor: descriptor)
  }

  /// Examines what an open file gives.
  package static func examine(descriptor: Int32) throws(InputProblem) -> FileReport {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .unreadable(String(cString: strerror(errno))) }
    if status.st_mode & S_IFMT == S_IFDIR { throw .directory }
    var lines = LineSplitter()
    while true {
      let piece = try read(descriptor)
      if piece.isEmpty { break }
      try lines.add(piece)
    }
    return try lines.finish()
  }

  /// Examines a text that is in memory.
  package static func examine(_ bytes: [UInt8]) throws(InputProblem) -> FileReport {
    var lines = LineSplitter()
    try lines.add(bytes)
    return try lines.finish()
  }

  /// The next piece of a file; empty at its end.
  private static func read(_ descriptor: Int32) throws(InputProblem) -> [UInt8] {
    while true {
      var reason: Int32 = 0
      let piece = [UInt8](unsafeUninitializedCapacity: pieceLength) { buffer, count in
        #if canImport(Darwin)
          let length = Darwin.read(descriptor, buffer.baseAddress, buffer.count)
        #elseif canImport(Musl)
          let length = Musl.read(descriptor, buffer.baseAddress, buffer.count)
        #else
          let length = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
        #endif
        if length < 0 { reason = errno }
        count = max(0, length)
      }
      if reason == 0 { return piece }
      if reason == EINTR { continue }
      guard reason == EAGAIN else { throw .unreadable(String(cString: strerror(reason))) }
      var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      _ = poll(&request, 1, -1)
    }
  }
}

/// Cuts pieces of a file into lines and has them examined.
struct LineSplitter {
  private var examination: Examination?
  private var utf16: UTF16Text?
  /// What came before enough was there to tell the encoding.
  private var head: [UInt8] = []
  /// The beginning of a line whose end has not come.
  private var rest: [UInt8] = []
  private var number = 1
  private static let sampleLength = 256 << 10

  /// Takes the next piece.
  mutating func add(_ piece: [UInt8]) throws(InputProblem) {
    if examination != nil { return try split(utf16 == nil ? piece : utf16!.decode(piece)) }
    head += piece
    if head.count >= Self.sampleLength { try begin() }
  }

  /// The verdicts.
  mutating func finish() throws(InputProblem) -> FileReport {
    if examination == nil {
      if head.isEmpty { throw .empty }
      try begin()
    }
    if !rest.isEmpty { examination!.add(TextLine(rest, number: number)) }
    let report = examination!.finish()
    if report.failures.isEmpty && report.snapshots.isEmpty && !report.hasKernelLines { throw .unrelated }
    return report
  }

  private mutating func begin() throws(InputProblem) {
    utf16 = UTF16Text(sample: head)
    var sample = head
    if utf16 != nil {
      sample = utf16!.decode(head)
    } else if let kind = FileKind.binary(sample) {
      throw .binary(kind)
    }
    head = []
    examination = Examination(sample: Array(sample.prefix(Self.sampleLength)))
    try split(sample)
  }

  private mutating func split(_ piece: [UInt8]) throws(InputProblem) {
    var start = 0
    while let end = piece.nextLineEnd(from: start) {
      var line = rest.isEmpty ? Array(piece[start..<end]) : rest + piece[start..<end]
      rest.removeAll(keepingCapacity: false)
      if line.last == 0x0d { line.removeLast() }
      start = end + 1
      // A carriage return alone ends a line too: old terminals' logs, and progress bars that a message interrupts.
      if line.contains(0x0d) {
        for part in line.split(separator: 0x0d) { examination!.add(TextLine(Array(part), number: number)) }
      } else {
        examination!.add(TextLine(line, number: number))
      }
      number += 1
    }
    rest += piece[start...]
    if rest.count > LineReader.greatestLineLength { throw .endlessLine(number) }
  }
}

extension [UInt8] {
  /// The offset of the first line feed at or after `start`.
  fileprivate func nextLineEnd(from start: Int) -> Int? {
    withUnsafeBufferPointer { bytes in
      guard start < bytes.count, let base = bytes.baseAddress,
        let found = memchr(base + start, 0x0a, bytes.count - start)
      else { return nil }
      return UnsafePointer(found.assumingMemoryBound(to: UInt8.self)) - base
    }
  }
}
