// The workloads of `vmalloc-suite`: what each allocates, and what stands around meanwhile.
//
// Names, sizes and counts are those of Linux's lib/test_vmalloc.c, so that figures can be put side by side.

import KernelStacks
import SeededRandom

/// One workload: allocate an area, write to it, free it, again and again.
enum VmallocWorkload: UInt8 {
  /// One page.
  case fixSize
  /// One page, among as many areas of one page with gaps between them that fit one exactly.
  case fullFit
  /// 100 pages and one page, among 15,000 areas of one page.
  case longBusyList
  /// 1 to 100 pages.
  case randomSize
  /// Five pages, at a multiple of 32 KiB.
  case fixAlign
  /// 1 to 10 pages, at a power of two up to 4 MiB.
  case randomSizeAlign
  /// One page at every power of two there is: the largest have to be refused.
  case alignShift

  static var count: UInt8 { 7 }

  /// The name in results.
  var name: StaticString {
    switch self {
    case .fixSize: "fixSize"
    case .fullFit: "fullFit"
    case .longBusyList: "longBusyList"
    case .randomSize: "randomSize"
    case .fixAlign: "fixAlign"
    case .randomSizeAlign: "randomSizeAlign"
    case .alignShift: "alignShift"
    }
  }

  /// How many areas stand around on all CPUs together, where memory has room for them.
  func standingAreas(cpuCount: Int) -> Int {
    switch self {
    case .fullFit:
      // 32 MiB of pages for each bit of the number of CPUs.
      (Int.bitWidth - cpuCount.leadingZeroBitCount) * 8192
    case .longBusyList: 15000
    default: 0
    }
  }

  /// Whether areas with one page each are freed between those that stand around.
  var leavesGaps: Bool { self == .fullFit }

  /// Whether no area has more than eight pages, so that a free has a bound in instructions.
  var isSmall: Bool {
    switch self {
    case .fixSize, .fullFit, .fixAlign: true
    default: false
    }
  }

  /// The requests of one round, in order: pages and alignment; `nil` after the last.
  func request(_ number: Int, _ random: inout SplitMix64) -> (pages: Int, alignment: Int)? {
    switch self {
    case .longBusyList:
      return number < 2 ? (number == 0 ? 100 : 1, pageSize) : nil
    case .alignShift:
      return number < 63 ? (1, max(pageSize, 1 << number)) : nil
    default:
      guard number == 0 else { return nil }
    }
    switch self {
    case .randomSize: return (1 + random.next(below: 100), pageSize)
    case .fixAlign: return (5, 32 << 10)
    case .randomSizeAlign: return (1 + random.next(below: 10), max(pageSize, 1 << random.next(below: 23)))
    default: return (1, pageSize)
    }
  }

  /// How many rounds are made when so many loops are asked for.
  func rounds(_ loops: Int) -> Int { self == .alignShift ? max(1, loops / 63) : loops }
}

/// What one CPU found and counted in one workload; all of it lies in memory of its own.
struct VmallocWorkloadFigures {
  var allocation = Cost()
  var release = Cost()
  var refused = 0
  /// Refusals of what the vmalloc area could have held on every CPU at once.
  var wronglyRefused = 0
  /// Areas that did not read as zero, or had changed when they were freed.
  var damaged = 0
  var failedFrees = 0
}
