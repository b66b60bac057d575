// The scenario `fragmented-fork`: its result agrees with the pictures of memory that come with it.

import KernelStacks
import Scenarios
import Testing

/// A picture of memory, read back from its run-length text.
struct FrameLetters {
  var letters: [Character] = []

  init(_ text: String) throws {
    var rest = Substring(text)
    while let letter = rest.popFirst() {
      let digits = rest.prefix { $0.isNumber }
      rest = rest.dropFirst(digits.count)
      letters += Array(repeating: letter, count: try #require(Int(digits)))
    }
  }

  func count(_ letter: Character) -> Int { letters.count { $0 == letter } }

  /// Whether an aligned block of this order is free, the first frame's number being a multiple of any block's size.
  func hasFreeBlock(order: Int) -> Bool {
    stride(from: 0, to: letters.count, by: 1 << order)
      .contains { letters[$0..<min($0 + 1 << order, letters.count)].allSatisfy { $0 == "f" } }
  }
}

@Suite struct FragmentedForkTests {
  @Test(arguments: [0, 1], [1, 2, 3] as [UInt64])
  func `No block above the asked order is free, and exactly the asked share is`(_ order: Int, _ seed: UInt64)
    throws
  {
    var options = ScenarioOptions.small(.fragmentedFork, .vmalloc, seed: seed)
    options.largestFreeOrder = order
    options.freeSharePercent = 40
    let run = try ScenarioRun(options)
    #expect(run.passed, "seed \(seed): \(run.problems)")
    let result = try run.result
    let maps = try #require(result["frameMaps"] as? [String: String])
    let before = try FrameLetters(#require(maps["before"]))
    #expect(before.letters.count == 1024)
    #expect(!before.hasFreeBlock(order: order + 1))
    #expect(before.hasFreeBlock(order: order))
    #expect(result["largestFreeBlockBytes"] as? Int == pageSize << order)
    #expect(result["unusableFreeIndex"] as? Double == 1)
    #expect(before.count("f") == (before.count("f") + before.count("b")) * 40 / 100)
    #expect(result["freeBytesBefore"] as? Int == before.count("f") * pageSize)
  }

  @Test func `Contiguous stacks fail at the first fork and say why`() throws {
    let result = try ScenarioRun(.small(.fragmentedFork, .linear)).result
    #expect(result["forksAttempted"] as? Int == 1)
    #expect(result["forksSucceeded"] as? Int == 0)
    let failure = try #require(result["firstFailure"] as? String)
    #expect(failure.hasPrefix("order 2 for a thread stack refused: 1 MiB free, largest block 8 KiB"))
  }

  @Test(arguments: [0, 1])
  func `Mapped stacks use practically all memory, all children alive together`(_ order: Int) throws {
    var options = ScenarioOptions.small(.fragmentedFork, .vmalloc)
    options.largestFreeOrder = order
    let result = try ScenarioRun(options).result
    let forks = try #require(result["forksSucceeded"] as? Int)
    let perFork = try #require(result["framesPerFork"] as? Int)
    let freeAtFailure = try #require(result["freeBytesAtFailure"] as? Int)
    let maps = try #require(result["frameMaps"] as? [String: String])
    let before = try FrameLetters(#require(maps["before"]))
    let atFailure = try FrameLetters(#require(maps["atFailure"]))
    let after = try FrameLetters(#require(maps["after"]))
    #expect(freeAtFailure / pageSize < perFork)
    #expect(atFailure.count("f") == freeAtFailure / pageSize)
    // 4 frames a stack, the first process's included; the same ballast throughout.
    #expect(atFailure.count("s") == (forks + 1) * 4)
    #expect(atFailure.count("b") == before.count("b"))
    #expect(after.count("b") == before.count("b"))
    #expect(after.count("s") == 0 && after.count("u") == 0 && after.count("t") == 0)
  }

  @Test(arguments: [StackDepths.typical, .full], [1, 2, 3] as [UInt64])
  func `Growing stacks cost what their threads use`(_ depths: StackDepths, _ seed: UInt64) throws {
    var options = ScenarioOptions.small(.fragmentedFork, .growing, seed: seed)
    options.memoryBytes = 8 << 20
    options.stackDepths = depths
    let run = try ScenarioRun(options)
    #expect(run.passed, "seed \(seed): \(run.problems)")
    let forks = try #require(try run.result["forksSucceeded"] as? Int)
    let bytes = try #require(try run.result["stackBytes"] as? Int)
    // The first process fills its stack.
    switch depths {
    case .full: #expect(bytes == (forks + 1) * 16384)
    case .typical: #expect(bytes > forks * 4096 && bytes < forks * 5400 + 16384, "seed \(seed): \(bytes)")
    }
  }

  @Test func `Small contiguous stacks do fork where blocks of their order are free`() throws {
    var options = ScenarioOptions.small(.fragmentedFork, .linear)
    options.stackSize = 8192
    let run = try ScenarioRun(options)
    #expect(run.passed, "\(run.problems)")
    #expect(try #require(try run.result["forksSucceeded"] as? Int) > 0)
  }
}
