// One damaged log after the other, each from a seed.

import FailureReports
import SeededRandom

/// The damage to the logs with one seed.
struct DamageRun {
  let logs: [CleanLog]

  /// The damaged log of a seed.
  func log(seed: UInt64, lossy: Bool) -> DamagedLog {
    var damager = Damager(logs, seed: seed)
    return damager.damagedLog(lossy: lossy)
  }

  /// What is wrong about the verdicts on it, with what is needed to see it again.
  func faults(of damaged: DamagedLog, seed: UInt64) -> [String] {
    do throws(InputProblem) {
      let report = try LineReader.examine(damaged.bytes)
      return VerdictComparison(logs: logs).faults(of: report, on: damaged).map { fault in
        let names = damaged.sources.map { logs[$0].name }
        return
          "seed \(seed) (\(names.joined(separator: ", ")); \(damaged.damages.joined(separator: "; "))): \(fault)"
      }
    } catch {
      // Nothing of a log may be left, but what is left is text.
      return error == .empty || error == .unrelated ? [] : ["seed \(seed): \(error)"]
    }
  }
}
