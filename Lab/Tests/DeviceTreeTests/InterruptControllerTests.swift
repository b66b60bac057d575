// The interrupt controller that a device tree describes.

import DeviceTree
import DeviceTreeSamples
import Testing

@Suite struct InterruptControllerTests {
  /// A board with an interrupt controller of this kind, with registers or without.
  private func board(_ compatible: String, registers: [UInt8]? = nil) throws -> Board {
    let controller = DeviceTreeNode(
      "controller@8000000",
      [
        ("compatible", text(compatible)), ("interrupt-controller", []),
        ("reg", registers ?? cells(0, 0x800_0000, 0, 0x1_0000, 0, 0x801_0000, 0, 0x1_0000)),
      ])
    let wide = [("#address-cells", cells(2)), ("#size-cells", cells(2))]
    return try readBoard(flattenedDeviceTree(DeviceTreeNode("", wide, [controller])))
  }

  @Test(arguments: ["arm,gic-400", "arm,cortex-a15-gic", "arm,cortex-a7-gic"])
  func `A GICv2 is known by each of its names`(name: String) throws {
    let board = try board(name)
    #expect(board.distributor.start == 0x800_0000 && board.cpuInterface.start == 0x801_0000)
    #expect(!board.hasForeignInterruptController)
  }

  @Test(arguments: ["arm,gic-v3", "arm,gic-v4", "brcm,bcm2836-l1-intc", "apple,aic"])
  func `Any other controller with registers is foreign`(name: String) throws {
    let board = try board(name)
    #expect(board.distributor.byteCount == 0 && board.hasForeignInterruptController)
    #expect(try !self.board(name, registers: []).hasForeignInterruptController)
  }
}
