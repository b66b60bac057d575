// A file lock that keeps two processes from building into the same folder at once.

import Foundation

/// A lock that one process at a time holds on a file.
///
/// The system releases it when the process ends.
struct FileLock: ~Copyable {
  private let descriptor: Int32

  /// Waits until no other process holds the lock.
  init(_ path: String) async throws {
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw BuildError("cannot open \(path): \(String(cString: strerror(errno)))")
    }
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  deinit { close(descriptor) }
}
