// The properties of one device tree node that the kernel looks at.
#if hasFeature(Embedded)
  import KernelStacks

  /// What a node says of itself.
  struct NodeProperties {
    var isChosen = false
    var isFinished = false
    var isAvailable = true
    var isInterruptController = false
    var numaNode = 0
    var deviceType: DeviceTreeValue
    var compatible: DeviceTreeValue
    var registers: DeviceTreeValue
    var interrupts: DeviceTreeValue
    var method: DeviceTreeValue
    var enableMethod: DeviceTreeValue
    var startFunction: DeviceTreeValue
    var stopFunction: DeviceTreeValue
    var commandLine: DeviceTreeValue
    var ramDiskStart: UInt = 0
    var ramDiskEnd: UInt = 0

    /// A node that has said nothing yet.
    init(_ tree: FlattenedDeviceTree) {
      let empty = DeviceTreeValue.empty(in: tree)
      deviceType = empty
      compatible = empty
      registers = empty
      interrupts = empty
      method = empty
      enableMethod = empty
      startFunction = empty
      stopFunction = empty
      commandLine = empty
    }

    /// Keeps a property if it matters.
    mutating func note(_ name: UnsafeRawPointer, _ value: DeviceTreeValue) {
      if nameEquals(name, "device_type") {
        deviceType = value
      } else if nameEquals(name, "compatible") {
        compatible = value
      } else if nameEquals(name, "reg") {
        registers = value
      } else if nameEquals(name, "interrupts") {
        interrupts = value
      } else if nameEquals(name, "interrupt-controller") {
        isInterruptController = true
      } else if nameEquals(name, "numa-node-id") {
        numaNode = Int(value.number)
      } else if nameEquals(name, "status") {
        isAvailable = value.contains("okay") || value.contains("ok")
      } else if nameEquals(name, "method") {
        method = value
      } else if nameEquals(name, "enable-method") {
        enableMethod = value
      } else if nameEquals(name, "cpu_on") {
        startFunction = value
      } else if nameEquals(name, "cpu_off") {
        stopFunction = value
      } else if nameEquals(name, "bootargs") {
        commandLine = value
      } else if nameEquals(name, "linux,initrd-start") {
        ramDiskStart = value.number
      } else if nameEquals(name, "linux,initrd-end") {
        ramDiskEnd = value.number
      }
    }

    /// How many address ranges `reg` holds, with the parent's numbers of cells.
    func rangeCount(_ cells: (address: Int, size: Int)) -> Int {
      let each = cells.address + cells.size
      return each > 0 ? registers.cellCount / each : 0
    }

    /// An address range of `reg`.
    func range(_ index: Int, _ cells: (address: Int, size: Int)) -> BoardRange {
      let first = index * (cells.address + cells.size)
      return BoardRange(
        start: registers.number(at: first, cells: cells.address),
        byteCount: registers.number(at: first + cells.address, cells: cells.size), node: numaNode)
    }
  }
#endif
