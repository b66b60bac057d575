// The interrupt controller that a device tree describes.

import DeviceTree
import DeviceTreeSamples
import Testing

@Suite struct InterruptControllerTests {
  static let distributor = BoardRange(start: 0x800_0000, byteCount: 0x1_0000)
  static let second = BoardRange(start: 0x801_0000, byteCount: 0x1_0000)

  /// A board with an interrupt controller of this kind, with registers or without, and a timer.
  private func board(_ compatible: String, registers: [UInt8]? = nil, timer: [UInt8] = []) throws -> Board {
    let controller = DeviceTreeNode(
      "controller@8000000",
      [
        ("compatible", text(compatible)), ("interrupt-controller", []),
        ("reg", registers ?? cells(0, 0x800_0000, 0, 0x1_0000, 0, 0x801_0000, 0, 0x1_0000)),
      ])
    let wide = [("#address-cells", cells(2)), ("#size-cells", cells(2))]
    let clock = DeviceTreeNode("timer", [("compatible", text("arm,armv7-timer")), ("interrupts", timer)])
    return try readBoard(flattenedDeviceTree(DeviceTreeNode("", wide, [clock, controller])))
  }

  @Test(arguments: ["arm,gic-400", "arm,cortex-a15-gic", "arm,cortex-a7-gic"])
  func `A GICv2 is known by each of its names`(name: String) throws {
    let board = try board(name)
    #expect(
      board.interruptController == .gicV2(distributor: Self.distributor, cpuInterface: Self.second))
  }

  @Test func `A GICv3 has a distributor and redistributors`() throws {
    let board = try board("arm,gic-v3")
    #expect(
      board.interruptController == .gicV3(distributor: Self.distributor, redistributors: Self.second))
    #expect(
      try self.board("arm,gic-v3", registers: cells(0, 0x800_0000, 0, 0x1_0000)).interruptController == nil)
  }

  @Test(arguments: ["arm,gic-v5", "apple,aic"])
  func `Any other controller with registers is kept by its name`(name: String) throws {
    let board = try board(name)
    #expect(board.interruptController == nil)
    #expect(board.unknownInterruptController.bytes.elementsEqual(text(name)))
    #expect(try self.board(name, registers: []).unknownInterruptController.byteCount == 0)
  }

  @Test func `The timer's interrupt is read as the controller names interrupts`() throws {
    let short = cells(0, 4, 1, 4, 3, 4, 2, 4)
    let long = cells(1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4)
    #expect(try board("brcm,bcm2836-l1-intc", timer: short).timerInterrupt == 3)
    #expect(try board("arm,gic-v3", timer: long).timerInterrupt == 11)
    #expect(try board("arm,gic-400", timer: short).timerInterrupt == -1)
  }
}

@Suite struct BusTests {
  private func port(_ name: String, _ address: UInt32, _ compatible: String) -> DeviceTreeNode {
    DeviceTreeNode("\(name)", [("compatible", text(compatible)), ("reg", cells(address, 0x40))])
  }

  /// A board with two serial ports behind a bus, of which `output` is chosen.
  private func board(_ output: String, ranges: [UInt8]?) throws -> Board {
    let narrow = [("#address-cells", cells(1)), ("#size-cells", cells(1))]
    let bus = DeviceTreeNode(
      "soc", narrow + (ranges.map { [("ranges", $0)] } ?? []),
      [
        port("serial@7e201000", 0x7e20_1000, "arm,pl011"),
        port("serial@7e215040", 0x7e21_5040, "brcm,bcm2835-aux-uart"),
      ])
    let chosen = DeviceTreeNode("chosen", [("stdout-path", text(output))])
    let aliases = DeviceTreeNode("aliases", [("serial1", text("/soc/serial@7e215040"))])
    return try readBoard(flattenedDeviceTree(DeviceTreeNode("", narrow, [aliases, chosen, bus])))
  }

  static let peripherals = cells(0x7e00_0000, 0x3f00_0000, 0x100_0000, 0x4000_0000, 0x4000_0000, 0x1000)

  @Test func `Devices behind a bus have the CPU's addresses`() throws {
    let board = try board("", ranges: Self.peripherals)
    #expect(
      board.serialPort
        == BoardSerialPort(kind: .pl011, registers: BoardRange(start: 0x3f20_1000, byteCount: 0x40)))
    #expect(board.devices[0].start == 0x3f20_1000)
    #expect(try self.board("", ranges: []).serialPort?.registers.start == 0x7e20_1000)
  }

  @Test func `A device that no range of its bus has is none`() throws {
    #expect(try board("", ranges: nil).serialPort == nil)
    #expect(try board("", ranges: cells(0x7e00_0000, 0x3f00_0000, 0x1000)).serialPort == nil)
  }

  @Test(arguments: ["serial1:115200n8", "serial1", "/soc/serial@7e215040", "/soc/serial@7e215040:9600"])
  func `The tree's choice of a serial port counts`(path: String) throws {
    let board = try board(path, ranges: Self.peripherals)
    #expect(board.serialPort?.kind == .auxiliary && board.serialPort?.registers.start == 0x3f21_5040)
  }

  @Test(arguments: ["serial9:115200n8", "/soc/gpio", "/", ":"])
  func `A choice of nothing that the kernel drives leaves the first`(path: String) throws {
    #expect(try board(path, ranges: Self.peripherals).serialPort?.kind == .pl011)
  }
}
