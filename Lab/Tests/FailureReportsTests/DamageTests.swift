// Logs damaged in every known way get the verdict of the clean log, or none.

import FailureReports
import Foundation
import SeededRandom
import Testing

@Suite struct DamagedLogTests {
  /// How many logs of each kind are damaged; `DAMAGED_LOGS` asks for more.
  static let count = ProcessInfo.processInfo.environment["DAMAGED_LOGS"].flatMap { Int($0) } ?? 200
  /// The first seed; `DAMAGE_SEED` asks for another.
  static let first = ProcessInfo.processInfo.environment["DAMAGE_SEED"].flatMap { UInt64($0) } ?? 1
  /// Seeds whose damage hides best what is missing, by whether something is.
  static let hardest: [Bool: [UInt64]] = [
    true: [
      10464, 11167, 13106, 14030, 14744, 16020, 16184, 16630, 16815, 18335, 18491, 19095, 19680, 23839, 23851,
      32352,
      34973, 36277, 38709, 48083, 48356, 48707, 53168, 54175, 59716, 61699, 66851, 68493, 82177, 82536, 83131,
      105_644,
      121_703, 130_854, 131_731, 133_470, 140_738, 141_595, 141_602, 151_327, 151_354, 153_748, 154_916,
      167_322, 170_845,
      188_251, 194_755, 200_274, 205_690, 224_773,
    ],
    false: [21702, 25049, 30687, 45511, 57616],
  ]

  @Test(arguments: [false, true]) func `get the verdict of the clean log, or none`(lossy: Bool) throws {
    let run = DamageRun(logs: try CleanLog.all())
    var faults: [String] = []
    for seed in Self.first..<Self.first + UInt64(Self.count) {
      faults += run.faults(of: run.log(seed: seed, lossy: lossy), seed: seed)
    }
    #expect(faults.isEmpty, "\(faults.count) wrong verdicts:\n\(faults.prefix(20).joined(separator: "\n"))")
  }

  @Test(arguments: [false, true]) func `get them where the damage is hard to see, too`(lossy: Bool) throws {
    let run = DamageRun(logs: try CleanLog.all())
    let faults = try #require(Self.hardest[lossy]).flatMap {
      run.faults(of: run.log(seed: $0, lossy: lossy), seed: $0)
    }
    #expect(faults.isEmpty, "\(faults.joined(separator: "\n"))")
  }

  @Test func `keep their verdict where nothing is lost, but for a few`() throws {
    let run = DamageRun(logs: try CleanLog.all())
    var count = 0
    var kept = 0
    for seed in Self.first..<Self.first + UInt64(Self.count) {
      let damaged = run.log(seed: seed, lossy: false)
      count += 1
      let verdicts = (try? LineReader.examine(damaged.bytes))?.failures.filter(\.hasVerdict).count ?? 0
      let expected = damaged.sources.reduce(0) { $0 + run.logs[$1].verdicts.count { $0.hasVerdict } }
      if verdicts >= expected { kept += 1 }
    }
    #expect(kept * 100 >= count * 85, "\(kept) of \(count)")
  }

  @Test func `have clean logs with the verdicts that are true`() throws {
    let logs = try CleanLog.all()
    for log in logs {
      #expect(Set(log.verdicts.map(\.cause)) == [log.cause], "\(log.name)")
      #expect(Set(log.verdicts.map(\.threadStack)) == [log.threadStack], "\(log.name)")
    }
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("CleanLogs")
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == logs.count)
  }
}
