// What a thread of the scenario `smp-storm` does, by seed: the same on every machine, which carries it out.

import SeededRandom

/// What a thread of a storm does next.
public enum StormAction: Equatable, Sendable {
  /// Its worker does one thing.
  case step
  /// Goes down its own stack until so many bytes are left, and verifies every frame on the way back.
  case descend(goal: Int)
  /// Sleeps until it is woken, unless too few others are awake to wake it.
  case sleep
  /// Wakes some that sleep.
  case wakeOthers
  /// Lets others run.
  case yield
  /// Takes a CPU offline, or brings one back: ``Processes/beginCPUChange(_:)``.
  case changeCPUs
  /// Ends; its worker gives back all it has, and while there is something left to do, it has a successor.
  case end
}

/// The actions of one thread of a storm.
public struct StormProgram: Sendable {
  private var random: SplitMix64
  private var stepsLeft: Int
  private var hasStepped = false

  /// The actions of thread `number`.
  ///
  /// - Parameters:
  ///   - seed: the seed of the storm.
  ///   - number: the thread's own.
  ///   - steps: how many things its worker does.
  public init(seed: UInt64, number: Int, steps: Int) {
    random = SplitMix64(seed: seed ^ UInt64(truncatingIfNeeded: number) &* 0x9e37_79b9_7f4a_7c15)
    stepsLeft = steps
  }

  /// A thread's share of the operations: so that one of sixteen operations makes a thread, and another ends one.
  public static var stepsPerThread: Int { 14 }

  /// The next action; after each step there is something else now and then.
  public mutating func next() -> StormAction {
    if hasStepped {
      hasStepped = false
      switch random.next(below: 256) {
      case 0..<80: return .descend(goal: random.next(below: 12000))
      case 80..<128: return .sleep
      case 128..<176: return .wakeOthers
      case 176..<192: return .yield
      case 192: return .changeCPUs
      default: break
      }
    }
    guard stepsLeft > 0 else { return .end }
    stepsLeft -= 1
    hasStepped = true
    return .step
  }

  /// What it does where it turns back; `nil`: nothing.
  public mutating func atBottom() -> StormAction? {
    switch random.next(below: 4) {
    case 0: .sleep
    case 1: .yield
    default: nil
    }
  }

  /// A number for a choice among what there is at the moment.
  public mutating func draw() -> UInt64 { random.next() }
}
