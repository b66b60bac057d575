// Logs with bytes changed at random: no trap, an end, and verdicts that have their figures.

import FailureReports
import Foundation
import SeededRandom
import Testing

/// Changes bytes, numbers and lines of a log.
struct Mutator {
  var random: SplitMix64
  /// Pieces that mean something to the reader.
  private static let pieces = [
    "[", "]", "[ 1.000001] ", "[T1] ", "Node 0 ", "DMA free:", " kB", "*4kB", " = ", "(UMEHCIR)", "order:",
    "order=-1", "mode:0x",
    "gfp_mask=", "18446744073709551615", "99999999999999999999", "0", "\u{0}", "\r", "\t", "\u{1b}[",
    "&#x110000;", "&lt;", "=3D", "=\n", "> ",
    "\u{a0}", "\u{ff}", "lowmem_reserve[]: ", ": page allocation failure", " invoked oom-killer: ", "Mem-Info:",
    "free_cma:", "{\"log\":\"",
    "copy_process+0x1/0x2", "SLUB: Unable to allocate memory on node", "vmap allocation for size ", "cgroup",
    "Task stack: [0x0..0xffffffffffffffff]",
    "FAR: 0x0", "Insufficient stack space to handle exception", "Node 0, zone Normal 1 2 3 4 5 6 7 8 9 10 11",
    "4096", "-", ">100000",
  ]

  mutating func mutate(_ bytes: inout [UInt8], with other: [UInt8]) {
    for _ in 0...random.next(below: 12) {
      guard !bytes.isEmpty else { return }
      let place = random.next(below: bytes.count)
      let length = min(bytes.count - place, 1 + random.next(below: 60))
      switch random.next(below: 8) {
      case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
      case 1: bytes.removeSubrange(place..<place + length)
      case 2: bytes.insert(contentsOf: bytes[place..<place + length], at: random.next(below: bytes.count))
      case 3: bytes.replaceSubrange(place..<place + min(length, 4), with: Self.piece(&random))
      case 4: bytes.insert(contentsOf: Self.piece(&random), at: place)
      case 5:
        let start = random.next(below: other.count)
        bytes.insert(contentsOf: other[start..<min(other.count, start + 40 * length)], at: place)
      case 6: bytes.removeLast(min(bytes.count, 20 * length))
      default: bytes.insert(0x0a, at: place)
      }
    }
  }

  private static func piece(_ random: inout SplitMix64) -> [UInt8] {
    Array(pieces[random.next(below: pieces.count)].utf8)
  }
}

@Suite struct ChangedByteTests {
  static let count = ProcessInfo.processInfo.environment["MUTATED_LOGS"].flatMap { UInt64($0) } ?? 400
  static let first = ProcessInfo.processInfo.environment["MUTATION_SEED"].flatMap { UInt64($0) } ?? 1

  @Test func `are read to their end, and have no verdict without its figures`() throws {
    var texts = try Corpus.names().map { try Corpus.bytes(String($0.prefix(2))) }
    texts += try CleanLog.all().map { Array($0.messages.joined(separator: "\n").utf8) }
    var faults: [String] = []
    for seed in Self.first..<Self.first + Self.count {
      var mutator = Mutator(random: SplitMix64(seed: seed))
      var bytes = texts[mutator.random.next(below: texts.count)]
      mutator.mutate(&bytes, with: texts[mutator.random.next(below: texts.count)])
      do throws(InputProblem) {
        let report = try LineReader.examine(bytes)
        let lines = bytes.count { $0 == 0x0a } + 1
        faults += report.contradictions(lineCount: lines).map { "seed \(seed): \($0)" }
        let json = DiagnosisJSON.text([(name: "log", report: report)])
        if (try? JSONSerialization.jsonObject(with: Data(json.utf8))) == nil {
          faults.append("seed \(seed): the JSON cannot be read")
        }
        _ = DiagnosisText.text(report, name: "log")
        _ = MetricsText.text([(name: "log", state: report.lastState ?? MemoryState())])
      } catch {
        // No log at all.
      }
    }
    #expect(faults.isEmpty, "\(faults.count):\n\(faults.prefix(20).joined(separator: "\n"))")
  }
}
