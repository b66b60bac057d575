// Which kernel printed a report.

/// A kernel's version.
package struct KernelVersion: Comparable, Hashable, Sendable, CustomStringConvertible {
  package var major: Int
  package var minor: Int
  package var patch = 0

  package static func < (a: Self, b: Self) -> Bool {
    (a.major, a.minor, a.patch) < (b.major, b.minor, b.patch)
  }

  package var description: String {
    patch == 0 && major > 2 ? "\(major).\(minor)" : "\(major).\(minor).\(patch)"
  }

  /// The version in a line such as `CPU: 1 PID: 235 Comm: insmod Not tainted 6.0.0-rc4+ #1`, or `nil`.
  init?(in text: [UInt8]) {
    let anchor =
      text.offset(of: "ainted") ?? text.offset(of: "Linux version") ?? text.offset(of: "Comm:")
      ?? text.offset(of: "comm:")
    guard let anchor else { return nil }
    var scanner = ByteScanner(text, at: anchor)
    while !scanner.isAtEnd {
      let before = scanner.peek(-1)
      if scanner.current.isDigit, !before.isDigit, before != UInt8(ascii: "."), before != UInt8(ascii: "/"),
        before != UInt8(ascii: "-")
      {
        let start = scanner.index
        if let major = scanner.number(), major >= 2, major <= 9, scanner.take(UInt8(ascii: ".")),
          let minor = scanner.number(), minor < 100
        {
          var patch = 0
          if scanner.current == UInt8(ascii: "."), scanner.peek(1).isDigit {
            scanner.index += 1
            patch = Int(scanner.number() ?? 0)
          }
          self.init(major: Int(major), minor: Int(minor), patch: patch)
          return
        }
        scanner.index = start + 1
      } else {
        scanner.index += 1
      }
    }
    return nil
  }

  package init(major: Int, minor: Int, patch: Int = 0) {
    self.major = major
    self.minor = minor
    self.patch = patch
  }
}
