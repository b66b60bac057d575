// Reports as memory of another machine.

import FailureReports
import Testing

@Suite struct ReplayTests {
  private func plan(_ file: String, failure: Int = 1, zone: String? = nil, memory: UInt64 = 4 << 30) throws
    -> ReplayPlan
  {
    try ReplayPlan(try Corpus.report(file), failure: failure, zone: zone, greatestMemory: memory)
  }

  @Test func `has the blocks of the zone that decided, and leaves out what is of no use`() throws {
    let plan = try plan("04")
    #expect(plan.freeBlocks == [9927, 1119, 19, 8, 2, 0, 0, 0, 0, 0, 0])
    #expect(plan.usableBlocks == [9926, 1118, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    #expect(plan.factor == 1)
    #expect(plan.stackBytes == 16384)
    #expect(plan.words[0] == "free-blocks=9927,1119,19,8,2,0,0,0,0,0,0")
  }

  @Test func `takes the failure and the zone that were asked for`() throws {
    #expect(try plan("04", failure: 2, zone: "Normal").freeBlocks[0] == 12_172)
    #expect(throws: ReplayProblem.noSuchFailure(number: 3, count: 2)) { try plan("04", failure: 3) }
    #expect(throws: ReplayProblem.noWholeList(zone: "Movable", whole: ["DMA", "DMA32", "Normal"])) {
      try plan("04", zone: "Movable")
    }
  }

  @Test func `is scaled down where memory is too small, and says so`() throws {
    let plan = try plan("21", memory: 1 << 30)
    #expect(plan.factor == 2)
    #expect(plan.freeBlocks == [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 172])
    #expect(plan.memoryBytes <= 1 << 30)
    #expect(plan.summary.contains("divided by 2"))
  }

  @Test func `keeps sizes where pages are larger`() throws {
    let plan = try plan("13", memory: 4 << 30)
    // 12 blocks of 64 kB, 10 of 128 kB, …; 8,192 kB and more become blocks of 4,096 kB.
    #expect(plan.freeBlocks == [0, 0, 0, 0, 12, 10, 5, 5, 5, 4, 145])
    #expect(plan.hasOtherPages)
    #expect(plan.hasLargerBlocks)
  }

  @Test func `of a cut list is refused`() throws {
    #expect(throws: ReplayProblem.noWholeList(zone: "Normal", whole: [])) { try plan("02") }
    #expect(throws: ReplayProblem.self) { try plan("31") }
  }

  @Test func `of every whole list is possible, and only of those`() throws {
    var lists = 0
    for name in try Corpus.names() {
      let report = try Corpus.report(name)
      for (index, failure) in report.failures.enumerated() {
        for list in failure.report.map({ report.reports[$0].lists }) ?? [] where list.sum > 0 {
          let plan = try ReplayPlan(report, failure: index + 1, zone: list.zone, greatestMemory: 1 << 30)
          #expect(plan.memoryBytes <= 1 << 30)
          #expect(zip(plan.usableBlocks, plan.freeBlocks).allSatisfy { $0 <= $1 })
          lists += 1
        }
      }
    }
    #expect(lists >= 20)
  }
}
