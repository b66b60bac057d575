// The properties of one device tree node that the kernel uses.

/// The numbers of 32-bit cells in addresses and sizes of a node's children.
struct CellCounts {
  /// Of an address: 0 to 4.
  var address: UInt8 = 2
  /// Of a size: 0 to 4.
  var size: UInt8 = 1

  /// The number of cells in an address with its size.
  var perRange: Int { Int(address) + Int(size) }

  /// Reads the value of `#address-cells` or `#size-cells`: at most 4.
  static func count(_ value: DeviceTreeValue) throws(DeviceTreeError) -> UInt8 {
    guard value.byteCount == 4, value.number <= 4 else { throw .cellCount(value.number) }
    return UInt8(value.number)
  }
}

/// The properties of a node.
struct NodeProperties {
  var isChosen = false
  var isConsole = false
  var isFinished = false
  var isAvailable = true
  var isInterruptController = false
  var isUnmapped = false
  var numaNode = 0
  var deviceType = DeviceTreeValue.empty
  var compatible = DeviceTreeValue.empty
  var registers = DeviceTreeValue.empty
  var interrupts = DeviceTreeValue.empty
  var method = DeviceTreeValue.empty
  var enableMethod = DeviceTreeValue.empty
  var releaseAddress = DeviceTreeValue.empty
  var startFunction = DeviceTreeValue.empty
  var stopFunction = DeviceTreeValue.empty
  var commandLine = DeviceTreeValue.empty
  var ramDiskStart: UInt = 0
  var ramDiskEnd: UInt = 0

  /// Whether the node is a GICv2.
  ///
  /// Source: Linux, Documentation/devicetree/bindings/interrupt-controller/arm,gic.yaml.
  var isGICv2: Bool {
    compatible.contains("arm,gic-400") || compatible.contains("arm,cortex-a15-gic")
      || compatible.contains("arm,cortex-a7-gic")
  }

  /// Whether the node, an interrupt controller, hands its interrupts to another one.
  var isBehindAnother: Bool { interrupts.byteCount > 0 }

  /// Whether the node is the power manager of a BCM2835 or a successor.
  var isBCM2835Power: Bool { compatible.contains("brcm,bcm2835-pm") || compatible.contains("brcm,bcm2711-pm") }

  /// Stores a property if the kernel uses it.
  mutating func note(_ name: DeviceTreeValue, _ value: DeviceTreeValue) {
    if name.equals("device_type") {
      deviceType = value
    } else if name.equals("compatible") {
      compatible = value
    } else if name.equals("reg") {
      registers = value
    } else if name.equals("interrupts") {
      interrupts = value
    } else if name.equals("interrupt-controller") {
      isInterruptController = true
    } else if name.equals("no-map") {
      isUnmapped = true
    } else if name.equals("numa-node-id") {
      numaNode = value.cellCount > 0 ? Int(value.cell(0)) : 0
    } else if name.equals("status") {
      isAvailable = value.contains("okay") || value.contains("ok")
    } else if name.equals("method") {
      method = value
    } else if name.equals("enable-method") {
      enableMethod = value
    } else if name.equals("cpu-release-addr") {
      releaseAddress = value
    } else if name.equals("cpu_on") {
      startFunction = value
    } else if name.equals("cpu_off") {
      stopFunction = value
    } else if name.equals("bootargs") {
      commandLine = value
    } else if name.equals("linux,initrd-start") {
      ramDiskStart = value.number
    } else if name.equals("linux,initrd-end") {
      ramDiskEnd = value.number
    }
  }

  /// The number of address ranges in `reg`, with the parent's cell counts.
  func rangeCount(_ cells: CellCounts) -> Int {
    cells.perRange > 0 ? registers.cellCount / cells.perRange : 0
  }

  /// The address range of `reg` with this index, below ``rangeCount(_:)``.
  func range(_ index: Int, _ cells: CellCounts) -> BoardRange {
    let first = index * cells.perRange
    return BoardRange(
      start: registers.number(at: first, cells: Int(cells.address)),
      byteCount: registers.number(at: first + Int(cells.address), cells: Int(cells.size)), node: numaNode,
      isUnmapped: isUnmapped)
  }
}
