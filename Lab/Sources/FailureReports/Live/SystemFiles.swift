// The files of /proc, /sys and /boot.

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Reads small files of a running system, and notes what it may not read.
package struct SystemFiles {
  /// The folder in which `/proc` and the others lie; `""` for this machine's own.
  private let root: String
  /// What could not be read, and what that costs.
  package private(set) var gaps: [String] = []

  /// The files of this machine, or of a copy of them in the folder `root`.
  package init(root: String = "") { self.root = root }

  private static let greatestLength = 64 << 20

  /// The contents of a file, or `nil`; then `cost` says what is not known without it.
  mutating func read(_ path: String, else cost: String? = nil) -> [UInt8]? {
    let descriptor = open(root + path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      if let cost { gaps.append("\(path) cannot be read (\(String(cString: strerror(errno)))): \(cost)") }
      return nil
    }
    defer { close(descriptor) }
    var contents: [UInt8] = []
    while contents.count < Self.greatestLength {
      let piece = Self.piece(descriptor)
      if piece.isEmpty { break }
      contents += piece
    }
    return contents
  }

  /// What one `read` gives: for /dev/kmsg, a record.
  static func piece(_ descriptor: Int32) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: 64 << 10) { buffer, count in
      #if canImport(Darwin)
        let length = Darwin.read(descriptor, buffer.baseAddress, buffer.count)
      #elseif canImport(Musl)
        let length = Musl.read(descriptor, buffer.baseAddress, buffer.count)
      #else
        let length = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
      #endif
      count = max(0, length)
    }
  }

  /// A file of one number; `nil` if there is none, and for `max`.
  mutating func number(_ path: String) -> UInt64? {
    guard let bytes = read(path) else { return nil }
    var scanner = ByteScanner(bytes)
    return scanner.number()
  }

  /// The names in a folder.
  func names(in path: String) -> [String] {
    guard let folder = opendir(root + path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }

  /// The path of a file for other readers.
  func path(_ path: String) -> String { root + path }
}
