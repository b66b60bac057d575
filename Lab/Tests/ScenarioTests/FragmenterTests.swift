// Breaking memory into pieces: exact for every order and share, repeatable, and undone when it cannot be.

import KernelStacks
import SimulatedMachine
import Testing

@testable import KernelProcesses
@testable import Scenarios
@testable import SimulatedScenarios

@Suite struct FragmenterTests {
  private static let cases: [(order: Int, percent: Int)] = [
    (0, 1), (0, 25), (0, 50), (1, 1), (1, 33), (1, 50), (1, 74), (1, 75),
  ]

  @Test(arguments: cases, [1, 2, 99] as [UInt64])
  func `Exactly the share is free, in blocks of the order at most`(
    _ shape: (order: Int, percent: Int), _ seed: UInt64
  ) throws {
    try withProcesses { processes, _ in
      let free = processes.frames.freeFrames
      let ballast = try processes.fragment(
        largestFreeOrder: shape.order, freeSharePercent: shape.percent, seed: seed)
      #expect(processes.frames.freeFrames == free * shape.percent / 100)
      #expect(ballast == free - free * shape.percent / 100)
      #expect(processes.frameAllocator.largestFreeOrder <= shape.order)
      for order in (shape.order + 1)...10 {
        #expect(processes.frameAllocator.freeBlocks(ofOrder: order, on: NodeID(0)) == 0)
      }
      processes.releaseBallast()
      #expect(processes.frames.freeFrames == free)
    }
  }

  @Test func `The seed decides, and nothing else`() throws {
    func freeFrames(_ seed: UInt64) throws -> [Bool] {
      var letters: [Bool] = []
      try withProcesses { processes, _ in
        _ = try processes.fragment(largestFreeOrder: 1, freeSharePercent: 50, seed: seed)
        letters = (0..<processes.frameSpan).map {
          processes.frameAllocator.owner(of: processes.lowestFrame + $0) == .free
        }
        processes.releaseBallast()
      }
      return letters
    }
    #expect(try freeFrames(3) == freeFrames(3))
    #expect(try freeFrames(3) != freeFrames(4))
  }

  @Test(arguments: [(0, 51), (0, 100), (1, 77)])
  func `A share that needs larger blocks is refused, and all memory is free again`(_ order: Int, _ percent: Int)
    throws
  {
    try withProcesses { processes, _ in
      let before = processes.snapshot()
      #expect(throws: FragmentationError.self) {
        _ = try processes.fragment(largestFreeOrder: order, freeSharePercent: percent, seed: 1)
      }
      #expect(processes.snapshot().firstDifference(from: before) == nil)
    }
  }
}
