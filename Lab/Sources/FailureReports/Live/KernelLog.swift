// The running kernel's own log.

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Reads /dev/kmsg.
enum KernelLog {
  /// All lines that the kernel still has, as `dmesg` prints them, or `nil` if they may not be read.
  static func read(_ files: inout SystemFiles) -> [UInt8]? {
    let descriptor = open(files.path("/dev/kmsg"), O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      _ = files.read(
        "/dev/kmsg",
        else: "failures that the kernel has logged are not shown; try sudo, or give the output of dmesg")
      return nil
    }
    defer { close(descriptor) }
    var log: [UInt8] = []
    while log.count < 64 << 20 {
      var failed = false
      errno = 0
      let record = SystemFiles.piece(descriptor)
      if record.isEmpty { failed = errno != EPIPE }
      // A record that was overwritten meanwhile is skipped.
      if failed { break }
      for line in lines(of: record) { log += line + [0x0a] }
    }
    return log
  }

  /// The lines of a record: `6,339,5140900,-;message`, then lines that begin with a blank and are not of the message.
  ///
  /// A file with many records, as a copy of the log has, is read in the same way.
  static func lines(of record: [UInt8]) -> [[UInt8]] {
    var result: [[UInt8]] = []
    for part in record.split(separator: 0x0a) where part.first != .blank {
      let line = Array(part)
      var scanner = ByteScanner(line)
      guard scanner.number() != nil, scanner.take(UInt8(ascii: ",")), scanner.number() != nil,
        scanner.take(UInt8(ascii: ",")), let time = scanner.number(),
        let text = line.firstIndex(of: UInt8(ascii: ";"))
      else { continue }
      let fields = line[scanner.index..<text]
      var caller = ""
      if let place = Array(fields).offset(of: "caller=") {
        caller = "[" + String(decoding: fields.dropFirst(place + 7), as: UTF8.self) + "]"
      }
      let micros = String(time % 1_000_000)
      let stamp =
        "[\(time / 1_000_000)." + String(repeating: "0", count: 6 - micros.count) + micros + "]\(caller) "
      // Line feeds inside a message are written as \x0a.
      var message = Array(line[(text + 1)...])
      while let escape = message.offset(of: "\\x0a") {
        result.append(Array(stamp.utf8) + message[..<escape])
        message.removeFirst(escape + 4)
      }
      result.append(Array(stamp.utf8) + message)
    }
    return result
  }
}
