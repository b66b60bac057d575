// The free memory of public reports, block by block, in the bootable kernel.

import ImageTools
import Testing

@Suite struct ReplayedMemoryTests {
  /// The blocks of a report, and those that a request of the kernel may take.
  struct Blocks: CustomTestStringConvertible, Sendable {
    var testDescription: String
    var free: [Int]
    var usable: [Int]
    var megabytes: Int

    var words: String {
      func list(_ numbers: [Int]) -> String { numbers.map(String.init).joined(separator: ",") }
      return "scenario=fragmented-fork free-blocks=\(list(free)) usable-blocks=\(list(usable))"
    }
  }

  private static let bash = Blocks(
    testDescription: "two forks of x86", free: [9927, 1119, 19, 8, 2, 0, 0, 0, 0, 0, 0],
    usable: [9926, 1118, 0, 0, 0, 0, 0, 0, 0, 0, 0], megabytes: 160)
  private static let withoutMMU = Blocks(
    testDescription: "a program without an MMU", free: [43, 35, 28, 17, 18, 20, 16, 11, 6, 0, 0],
    usable: [43, 35, 28, 17, 18, 20, 16, 11, 6, 0, 0], megabytes: 112)

  @Test(arguments: [bash, withoutMMU], ["linear", "vmalloc", "growing"])
  func `is free in exactly its blocks, under every strategy`(_ blocks: Blocks, _ strategy: String)
    async throws
  {
    let run = try await boot("\(blocks.words) strategy=\(strategy)") {
      $0.memoryByteCount = blocks.megabytes << 20
    }
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").last)
    #expect(result["freeBlocks"]?.array?.compactMap(\.integer) == blocks.free)
    let frames = blocks.usable.indices.reduce(0) { $0 + blocks.usable[$1] << $1 }
    #expect(result["freeBytesBefore"]?.integer == frames * 4096)
    let forks = try #require(result["forksSucceeded"]?.integer)
    let hasLargeBlock = blocks.usable[2...].contains { $0 > 0 }
    #expect(strategy == "linear" && !hasLargeBlock ? forks == 0 : forks > frames / 20)
  }

  @Test func `is refused where there is no room for its blocks`() async throws {
    let run = try await boot("\(Self.bash.words) strategy=vmalloc") { $0.memoryByteCount = 64 << 20 }
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run)?.hasPrefix("the machine has too little memory for the report") == true)
  }
}
