// Admission of guests: as many run at a time as there are processors, so that none waits for a processor while its time passes.

import Foundation

/// Admits guests in the order of their requests.
actor GuestTurns {
  /// The guests of this process.
  static let shared = GuestTurns(count: ProcessInfo.processInfo.activeProcessorCount)

  private var free: Int
  private var waiting: [CheckedContinuation<Void, Never>] = []

  init(count: Int) { free = max(1, count) }

  /// Waits until a guest may start.
  func begin() async {
    if free > 0 {
      free -= 1
    } else {
      await withCheckedContinuation { waiting.append($0) }
    }
  }

  /// Ends a guest's turn, and starts the next guest.
  func end() {
    if waiting.isEmpty {
      free += 1
    } else {
      waiting.removeFirst().resume()
    }
  }
}
