// CPUs that go offline and come back in the midst of a storm: which, and when.
//
// One change at a time. While one is under way, other threads that would make one do without. Most CPUs are online at
// most times, so that much happens at once, and now and then several are not.

import KernelProcesses
import KernelStacks

/// Which CPUs a storm has taken offline; part of ``StormState``.
struct StormCPUs {
  /// Those that are offline, one bit each.
  var offline: UInt64 = 0
  var isChanging = false
  var figures = StormCPUFigures()
}

/// How often CPUs went and came back.
public struct StormCPUFigures: Sendable {
  /// How often one was taken offline.
  public internal(set) var departures = 0
  /// How often one was brought back.
  public internal(set) var returns = 0
  /// How often that was refused though it was legal.
  public internal(set) var refused = 0
}

/// A CPU that is to go offline, or to come back.
public struct StormCPUChange: Equatable, Sendable {
  /// The CPU.
  public let number: Int
  /// Whether it is to come back.
  public let isReturn: Bool
}

extension Processes where Parts: ScenarioParts {
  /// Chooses a CPU to take offline, or to bring back; the change is under way then, until ``endCPUChange(_:isDone:)``.
  ///
  /// - Parameter draw: a random number.
  /// - Returns: `nil` if another change is under way, or there is but one CPU.
  public borrowing func beginCPUChange(_ draw: UInt64) -> StormCPUChange? {
    locked {
      guard let change = chooseCPUChange(draw) else { return nil }
      workload.pointee.storm.cpus.isChanging = true
      return change
    }
  }

  /// Notes whether a change took place.
  public borrowing func endCPUChange(_ change: StormCPUChange, isDone: Bool) {
    locked {
      workload.pointee.storm.cpus.isChanging = false
      guard isDone else { return workload.pointee.storm.cpus.figures.refused += 1 }
      workload.pointee.storm.cpus.offline ^= 1 << UInt64(change.number)
      if change.isReturn {
        workload.pointee.storm.cpus.figures.returns += 1
      } else {
        workload.pointee.storm.cpus.figures.departures += 1
      }
    }
  }

  /// Brings all CPUs back that a storm has taken offline; nothing else changes any.
  borrowing func bringCPUsBack<Host: ScenarioHost>(_ host: Host) where Host.Parts == Parts {
    for number in 0..<machine.cpuCount where workload.pointee.storm.cpus.offline & 1 << UInt64(number) != 0 {
      let change = StormCPUChange(number: number, isReturn: true)
      endCPUChange(change, isDone: host.bringOnline(number, in: self))
    }
  }

  /// The lock is held.
  private borrowing func chooseCPUChange(_ draw: UInt64) -> StormCPUChange? {
    let count = machine.cpuCount
    let offline = workload.pointee.storm.cpus.offline
    guard count > 1, !workload.pointee.storm.cpus.isChanging else { return nil }
    let gone = offline.nonzeroBitCount
    let isReturn = gone > 0 && (draw & 3 != 0 || gone >= (count + 1) / 2)
    // The first stays; of the others, the n-th of those that are offline, or online.
    var left = Int((draw >> 2) % UInt64(isReturn ? gone : count - 1 - gone))
    for number in 1..<count where (offline & 1 << UInt64(number) != 0) == isReturn {
      if left == 0 { return StormCPUChange(number: number, isReturn: isReturn) }
      left -= 1
    }
    return nil
  }
}
