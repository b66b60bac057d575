// Malformed device trees: refused with a line on the console, never a hang.

import DeviceTreeSamples
import ImageTools
import Testing

@Suite struct BadDeviceTrees {
  /// A tree that a kernel would boot with; its console comes first.
  static let good: [DeviceTreeNode] = [
    UnusualDeviceTrees.uart, UnusualDeviceTrees.chosen, UnusualDeviceTrees.memory,
    UnusualDeviceTrees.processors, UnusualDeviceTrees.controller, UnusualDeviceTrees.timer,
  ]

  private func expectRefusal(
    _ boot: BootWithTree, _ message: String, sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let run = try await boot.run()
    #expect(run.exitCode == ExitCode.failure, sourceLocation: sourceLocation)
    #expect(errorMessage(run) == message, sourceLocation: sourceLocation)
  }

  private func patched(_ tree: BootWithTree, at offset: Int, to word: UInt32) -> BootWithTree {
    var tree = tree
    for index in 0..<4 {
      tree.bytes[offset + index] = UInt8(truncatingIfNeeded: word >> UInt32(24 - index * 8))
    }
    return tree
  }

  @Test func `Memory that holds no tree is refused`() async throws {
    try await expectRefusal(
      BootWithTree(bytes: [UInt8](repeating: 0x5a, count: 64)),
      "device tree: there is none at the address that the boot loader gave")
  }

  @Test(arguments: [0, 39, 0x20_0001, 0xffff_ffff] as [UInt32])
  func `A tree that lies about its size is refused`(size: UInt32) async throws {
    try await expectRefusal(
      patched(BootWithTree(Self.good), at: 4, to: size),
      "device tree: it cannot be \(size) bytes long, as it says")
  }

  @Test func `A tree that says it is shorter than it is says so on its console`() async throws {
    let tree = BootWithTree(Self.good)
    let run = try await patched(tree, at: 4, to: UInt32(tree.bytes.count - 100)).run()
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run)?.hasPrefix("device tree: it is damaged at byte ") == true)
  }

  @Test func `A tree whose end is no memory ends in a report`() async throws {
    // Tokens without a meaning up to the end of RAM, and a size beyond it.
    var tree = BootWithTree(Self.good)
    tree.bytes =
      Array(tree.bytes.prefix(40)) + [UInt8](repeating: 0, count: 16)
      + (0..<16 << 10).flatMap { _ in [0, 0, 0, 4] }
    tree = patched(patched(tree, at: 8, to: 56), at: 16, to: 40)
    tree = patched(patched(tree, at: 12, to: 40), at: 4, to: 0x20_0000)
    tree.address = 0x4800_0000 - UInt64(tree.bytes.count)
    let run = try await tree.run()
    #expect(run.exitCode == ExitCode.panic)
    #expect(errorMessage(run) == "panic: unhandled exception of thread code")
  }

  @Test func `A tree whose nodes nest without end is refused`() async throws {
    // Beginnings of nodes in place of the root's end.
    var tree = BootWithTree(Self.good)
    let strings = tree.bytes[12..<16].reduce(0) { $0 << 8 | Int($1) }
    let endless = (0..<10_000).flatMap { _ in [0, 0, 0, 1, 0, 0, 0, 0] as [UInt8] }
    tree.bytes = tree.bytes[..<(strings - 8)] + endless + tree.bytes[strings...]
    tree = patched(tree, at: 12, to: UInt32(strings - 8 + endless.count))
    let run = try await patched(tree, at: 4, to: UInt32(tree.bytes.count)).run()
    #expect(run.exitCode == ExitCode.failure)
    #expect(
      errorMessage(run)?.hasPrefix("device tree: more than 64 nodes lie within each other at byte ") == true)
  }

  @Test func `Cells of eight bytes, ends below the root, and no end are refused`() async throws {
    let wide = DeviceTreeNode("soc", [("#address-cells", cells(0x8000_0000, 0))])
    try await expectRefusal(
      BootWithTree(Self.good + [wide]),
      "device tree: addresses or sizes of 9223372036854775808 cells are not understood")
    // The last token, before the strings, is the end of the tree.
    let tree = BootWithTree(Self.good)
    let strings = tree.bytes[12..<16].reduce(0) { $0 << 8 | Int($1) }
    try await expectRefusal(
      patched(tree, at: strings - 4, to: 2),
      "device tree: beginnings and ends of nodes do not match at byte \(strings - 4)")
    try await expectRefusal(
      patched(tree, at: strings - 8, to: 9),
      "device tree: beginnings and ends of nodes do not match at byte \(strings - 8)")
  }

  @Test func `A tree that overlaps the image is refused, wherever it begins`() async throws {
    let message = "device tree: it overlaps the kernel's image"
    // Inside the kernel: the image has been loaded over the tree, or its memory was cleared.
    for told in [BootWithTree.entry, BootWithTree.entry + 0x8000] {
      var tree = BootWithTree(Self.good)
      tree.toldAddress = told
      try await expectRefusal(tree, message)
    }
    // Below, running into it: the kernel has been loaded over its end.
    var below = BootWithTree(Self.good)
    below.address = BootWithTree.entry - UInt64(below.bytes.count + 7) & ~7
    try await expectRefusal(patched(below, at: 4, to: 0x2_0000), message)
  }

  @Test func `A RAM disk outside memory, or over the image, is refused`() async throws {
    func tree(_ start: [UInt8], _ end: [UInt8]) -> BootWithTree {
      let chosen = DeviceTreeNode("chosen", [("linux,initrd-start", start), ("linux,initrd-end", end)])
      return BootWithTree([UnusualDeviceTrees.uart, chosen] + Self.good.dropFirst(2))
    }
    try await expectRefusal(
      tree(cells(0x47ff_0000), cells(0x4800_0001)),
      "the initial RAM disk does not lie in memory that may be mapped")
    try await expectRefusal(
      tree(cells(1), cells(0xffff_ffff, 0xffff_ffff)),
      "the initial RAM disk does not lie in memory that may be mapped")
    try await expectRefusal(
      tree(cells(0x4000_0000), cells(0x4008_0001)), "the initial RAM disk overlaps the kernel's image")
  }

  @Test func `Devices at the end of all addresses are refused`() async throws {
    for (start, size) in [(0xffff_f000, 0x1000), (0xffff_f000, 0xffff_ffff)] as [(UInt32, UInt32)] {
      let controller = DeviceTreeNode(
        "intc@8000000",
        [
          ("compatible", text("arm,cortex-a15-gic")), ("interrupt-controller", []),
          ("reg", cells(0xffff_ffff, start, 0, size, 0, 0x801_0000, 0, 0x1_0000)),
        ])
      let run = try await BootWithTree(
        Self.good.filter { !$0.name.hasPrefix("intc") } + [controller]
      ).run()
      #expect(run.exitCode == ExitCode.failure)
      #expect(errorMessage(run)?.hasPrefix("translation tables: ") == true)
    }
  }

  @Test func `A counter that is slower than the tick is refused`() async throws {
    let run = try await boot("scenario=self-test test=lookup") {
      $0.extraArguments = ["-cpu", "cortex-a72,cntfrq=999"]
    }
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run) == "the generic timer is slower than the tick (CNTFRQ_EL0)")
  }

  @Test func `A timer with an interrupt that no CPU has is none`() async throws {
    let timer = DeviceTreeNode(
      "timer",
      [
        ("compatible", text("arm,armv8-timer")),
        ("interrupts", cells(1, 13, 0x104, 1, 14, 0x104, 1, 0xffff_fff0, 0x104, 1, 10, 0x104)),
      ])
    try await expectRefusal(
      BootWithTree(Self.good.dropLast() + [timer]), "the device tree describes no generic timer")
  }
}
