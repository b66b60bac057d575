// More memory than the host may have, and memory in ranges far apart: untouched memory costs nothing.

import DeviceTreeSamples
import Foundation
import ImageTools
import Testing

@Suite struct LargeMemory {
  @Test(arguments: [9, 64]) func `A kernel with this many GiB forks and ends processes`(gibibytes: Int)
    async throws
  {
    let run = try await boot("scenario=fork-churn strategy=vmalloc operations=200") {
      $0.memoryByteCount = gibibytes << 30
    }
    expectSuccess(run)
    let balance = try #require(run.records(ofType: "result").last?["freeFramesBefore"]?.integer)
    #expect(balance > gibibytes * 261_000, "all but its records is free: 12 bytes for each frame")
  }

  // The kernel holds frames by writing into them, so QEMU takes all of this from the host.
  @Test(
    .enabled(
      if: ProcessInfo.processInfo.physicalMemory >= 20 << 30, "the computer has less than 20 GiB of memory"))
  func `Memory beyond what processes can use up is held, and all of it comes back`() async throws {
    let run = try await boot("scenario=fragmented-fork strategy=vmalloc free-share=2") {
      $0.memoryByteCount = 16 << 30
    }
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").last)
    let free = try #require(result["freeBytesBefore"]?.integer)
    #expect(free > 300 << 20 && free < 330 << 20, "2 % of 16 GiB: less than is held back")
    let map = try #require(result["frameMaps"]?["before"]?.string)
    let frames = map.split { !$0.isNumber }.compactMap { Int($0) }.reduce(0, +)
    #expect(frames == 16 << 18, "the picture has all of it")
  }

  @Test(arguments: ["fragmented-fork", "fork-churn"]) func `RAM may lie in two ranges, 40 GiB apart`(
    scenario: String
  )
    async throws
  {
    let program = try await KernelBuild.shared.products(for: .cortexA72).initProgram
    let byteCount = try Data(contentsOf: URL(fileURLWithPath: program)).count
    let place: UInt32 = 0x4700_0000
    let chosen = DeviceTreeNode(
      "chosen",
      [
        ("bootargs", text("scenario=\(scenario) strategy=vmalloc")), ("linux,initrd-start", cells(place)),
        ("linux,initrd-end", cells(place + UInt32(byteCount))),
      ])
    let memory = DeviceTreeNode(
      "memory",
      [
        ("device_type", text("memory")),
        ("reg", cells(0, 0x4000_0000, 0, 0x800_0000, 0xb, 0x4800_0000, 0, 0x800_0000)),
      ])
    var boot = BootWithTree([
      UnusualDeviceTrees.uart, chosen, memory, UnusualDeviceTrees.processors, UnusualDeviceTrees.controller,
      UnusualDeviceTrees.timer,
    ])
    boot.configure = {
      $0.memoryByteCount = 45 << 30
      $0.extraArguments += ["-device", "loader,file=\(program),addr=\(place),force-raw=on"]
    }
    expectSuccess(try await boot.run())
  }
}
