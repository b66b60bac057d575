// Lines on a terminal that are redrawn in place.

import Figures
import Foundation
import ImageTools
import Synchronization

/// A few lines at the bottom of the terminal's output.
///
/// While they are shown, the cursor is hidden and long lines are cut off; ``clear()`` and ``restoreTerminal()`` undo both.
final class LiveView: Sendable {
  private static let isDrawing = Atomic(false)
  private let lineCount = Mutex(0)

  /// Replaces the lines.
  func draw(_ lines: [String]) {
    lineCount.withLock { count in
      Self.isDrawing.store(true, ordering: .relaxed)
      Self.write("\u{1b}[?25l\u{1b}[?7l" + Self.upwards(count) + lines.map { $0 + "\u{1b}[K\n" }.joined())
      count = lines.count
    }
  }

  /// Removes the lines; further output takes their place.
  func clear() {
    lineCount.withLock { count in
      Self.write(Self.upwards(count))
      count = 0
    }
    Self.restoreTerminal()
  }

  /// Restores the terminal, wherever drawing stopped.
  static func restoreTerminal() {
    if isDrawing.exchange(false, ordering: .relaxed) { write("\u{1b}[?7h\u{1b}[?25h") }
  }

  private static func upwards(_ count: Int) -> String { count == 0 ? "\r" : "\u{1b}[\(count)A\r\u{1b}[J" }

  private static func write(_ text: String) { Terminal.write(text) }
}

/// The memory and CPUs of a line of progress, as lines of text.
func watchLines(_ title: String, _ record: JSON, memoryBytes: Int, inColour: Bool) -> [String] {
  var lines = [
    "\(title) \(Steps.bar(done: record["done"]?.integer ?? 0, total: record["total"]?.integer ?? 0)) "
      + (record["what"]?.string ?? ""), "",
  ]
  let letters = record["picture"]?.string ?? ""
  let runs = letters.compactMap { FrameUse(rawValue: $0) }.map { FrameMap.Run(use: $0, count: 1) }
  if !runs.isEmpty, runs.count == letters.count {
    let rows = (runs.count + 63) / 64
    let picture = MemoryPicture(
      map: FrameMap(runs: runs), height: inColour ? (rows + 1) / 2 : rows, inColour: inColour)
    lines += picture.lines + [MemoryPicture.legend([picture]), ""]
  }
  if let free = record["freeBytes"]?.integer, memoryBytes > 0 {
    let width = min(40, max(0, Int(Double(free) / Double(memoryBytes) * 40)))
    lines.append(
      "free    [\(String(repeating: "#", count: width))\(String(repeating: " ", count: 40 - width))] "
        + readable(byteCount: free))
  }
  for (cpu, caches) in (record["cpus"]?.string ?? "").split(separator: " ").enumerated() {
    let counts = caches.split(separator: "/").compactMap { Int($0) }
    guard counts.count == 2 else { continue }
    lines.append(
      "CPU \(cpu)   magazine \(counted(counts[0], "stack")), reserve \(counted(counts[1], "frame"))")
  }
  return lines
}
