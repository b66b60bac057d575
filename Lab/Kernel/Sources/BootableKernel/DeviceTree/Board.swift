// What the device tree says about the board: everything that the kernel needs to know, gathered in one pass.
#if hasFeature(Embedded)
  import CAArch64
  import KernelStacks

  /// A range of physical memory that the device tree names.
  struct BoardRange {
    var start: UInt = 0
    var byteCount: UInt = 0
    var node = 0
  }

  /// A CPU that the device tree names.
  struct BoardCPU {
    /// Its affinity, as in MPIDR_EL1.
    var affinity: UInt64 = 0
    var node = 0
    /// Whether it is started by firmware's PSCI functions.
    var isStartedByFirmware = false
  }

  /// What the device tree describes.
  struct Board {
    static var maximumRanges: Int { 16 }
    static var maximumCPUs: Int { Int(CA_MAXIMUM_CPUS) }
    /// The affinity fields of MPIDR_EL1: Aff3 in bits 39:32, Aff2 to Aff0 in bits 23:0.
    static var affinityMask: UInt64 { 0xff_00ff_ffff }

    /// The RAM.
    var memory = InlineArray<16, BoardRange>(repeating: BoardRange())
    var memoryCount = 0
    /// Parts of the RAM that are somebody else's.
    var reservations = InlineArray<16, BoardRange>(repeating: BoardRange())
    var reservationCount = 0
    /// How many ranges did not fit.
    var rangesLeftOut = 0

    /// The CPUs, the one that the kernel was started on first, then in the tree's order: their numbers.
    var cpus = InlineArray<8, BoardCPU>(repeating: BoardCPU())
    /// How many there are, those that did not fit included.
    var cpuCount = 0
    /// Whether the tree names the CPU that the kernel was started on.
    var namesBootCPU = false

    /// The PL011's registers, or zero bytes where there is none.
    var uart = BoardRange()
    /// The distributor and the CPU interface of a GICv2, or zero bytes.
    var distributor = BoardRange()
    var cpuInterface = BoardRange()
    /// Whether there is an interrupt controller that is not understood.
    var hasForeignInterruptController = false
    /// The private interrupt of the virtual timer (0…15), or -1.
    var timerInterrupt = -1
    /// How firmware is called.
    var firmware = Firmware()

    var initialRAMDisk = BoardRange()
    var commandLine: DeviceTreeValue

    /// Gathers what a tree says.
    init(_ tree: FlattenedDeviceTree) {
      commandLine = .empty(in: tree)
      var index = 0
      while let reservation = tree.reservation(index) {
        reserve(reservation.start, reservation.byteCount)
        index += 1
      }
      readNodes(tree)
    }

    private mutating func reserve(_ start: UInt, _ byteCount: UInt) {
      guard reservationCount < Self.maximumRanges else {
        rangesLeftOut += 1
        return
      }
      reservations[reservationCount] = BoardRange(start: start, byteCount: byteCount)
      reservationCount += 1
    }

    // Properties come before child nodes, so a node is complete when its first child begins or it ends.
    private mutating func readNodes(_ tree: FlattenedDeviceTree) {
      var cursor = DeviceTreeCursor(tree)
      var cells = InlineArray<16, (address: Int, size: Int)>(repeating: (2, 1))
      var depth = 0
      var reservedDepth = Int.max
      var node = NodeProperties(tree)
      while true {
        switch cursor.next() {
        case .beginNode(let name):
          if depth > 0 { finish(&node, cells: cells[min(depth - 1, 15)], isReservation: depth > reservedDepth) }
          depth += 1
          node = NodeProperties(tree)
          node.isChosen = depth == 2 && nameEquals(name, "chosen")
          if depth == 2, nameEquals(name, "reserved-memory") { reservedDepth = depth }
          if depth < 16 { cells[depth] = (2, 1) }
        case .endNode:
          if depth > 0 { finish(&node, cells: cells[min(depth - 1, 15)], isReservation: depth > reservedDepth) }
          depth -= 1
          if depth < reservedDepth { reservedDepth = .max }
        case .property(let name, let value):
          if nameEquals(name, "#address-cells") {
            if depth < 16 { cells[depth].address = Int(value.number) }
          } else if nameEquals(name, "#size-cells") {
            if depth < 16 { cells[depth].size = Int(value.number) }
          } else {
            node.note(name, value)
          }
        case .end:
          return
        }
      }
    }

    private mutating func finish(
      _ node: inout NodeProperties, cells: (address: Int, size: Int), isReservation: Bool
    ) {
      guard !node.isFinished else { return }
      node.isFinished = true
      if node.isChosen {
        commandLine = node.commandLine
        if node.ramDiskEnd > node.ramDiskStart {
          initialRAMDisk = BoardRange(start: node.ramDiskStart, byteCount: node.ramDiskEnd - node.ramDiskStart)
        }
        return
      }
      guard node.isAvailable else { return }
      if isReservation {
        for index in 0..<node.rangeCount(cells) {
          let range = node.range(index, cells)
          reserve(range.start, range.byteCount)
        }
      } else if node.deviceType.contains("memory") {
        for index in 0..<node.rangeCount(cells) {
          let range = node.range(index, cells)
          guard range.byteCount > 0 else { continue }
          guard memoryCount < Self.maximumRanges else {
            rangesLeftOut += 1
            continue
          }
          memory[memoryCount] = range
          memoryCount += 1
        }
      } else if node.deviceType.contains("cpu") {
        addCPU(node, addressCells: cells.address)
      } else {
        readDevice(node, cells: cells)
      }
    }

    private mutating func addCPU(_ node: NodeProperties, addressCells: Int) {
      let affinity = UInt64(node.registers.number(at: 0, cells: min(addressCells, node.registers.cellCount)))
      let isStarted = node.enableMethod.contains("psci")
      let cpu = BoardCPU(affinity: affinity, node: node.numaNode, isStartedByFirmware: isStarted)
      if cpuCount < Self.maximumCPUs { cpus[cpuCount] = cpu }
      // This one goes to the front, the others keep their order.
      if affinity == ca_read_mpidr_el1() & Self.affinityMask {
        namesBootCPU = true
        for index in stride(from: min(cpuCount, Self.maximumCPUs - 1), to: 0, by: -1) {
          cpus[index] = cpus[index - 1]
        }
        cpus[0] = cpu
      }
      cpuCount += 1
    }

    private mutating func readDevice(_ node: NodeProperties, cells: (address: Int, size: Int)) {
      if node.compatible.contains("arm,pl011") {
        if uart.byteCount == 0, node.rangeCount(cells) > 0 { uart = node.range(0, cells) }
      } else if node.compatible.contains("arm,cortex-a15-gic") || node.compatible.contains("arm,gic-400") {
        if distributor.byteCount == 0, node.rangeCount(cells) > 1 {
          distributor = node.range(0, cells)
          cpuInterface = node.range(1, cells)
        }
      } else if node.isInterruptController, node.rangeCount(cells) > 0 {
        // Nodes without registers, or below another controller, are no matter here.
        if node.compatible.contains("arm,gic-v3") { hasForeignInterruptController = true }
      } else if node.compatible.contains("arm,armv8-timer") {
        // Four interrupts of three cells: secure, non-secure, virtual, hypervisor; type 1 is a private one.
        if node.interrupts.cellCount >= 9, node.interrupts.cell(6) == 1 {
          timerInterrupt = Int(node.interrupts.cell(7))
        }
      } else if node.compatible.contains("arm,psci-1.0") || node.compatible.contains("arm,psci-0.2") {
        firmware = Firmware(node, hasStandardFunctions: true)
      } else if node.compatible.contains("arm,psci") {
        firmware = Firmware(node, hasStandardFunctions: false)
      }
    }
  }
#endif
