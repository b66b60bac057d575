// What the device tree says about the board: everything that the kernel needs to know, gathered in one pass.
//
// What was read before a mistake in the tree stays: there may be a console among it, to say so.

/// A range of physical memory that the device tree names.
public struct BoardRange: Equatable {
  /// The physical address of its first byte.
  public var start: UInt = 0
  /// Its length, in bytes.
  public var byteCount: UInt = 0
  /// The NUMA node that it is near to.
  public var node = 0
  /// Whether the kernel must not even map it: a CPU's speculative reads would do harm.
  public var isUnmapped = false

  /// A range.
  public init(start: UInt = 0, byteCount: UInt = 0, node: Int = 0, isUnmapped: Bool = false) {
    self.start = start
    self.byteCount = byteCount
    self.node = node
    self.isUnmapped = isUnmapped
  }

  /// Whether all bytes of another range are among those of this one.
  public func contains(_ other: Self) -> Bool {
    other.start >= start && other.start - start <= byteCount
      && other.byteCount <= byteCount - (other.start - start)
  }

  /// Whether there is a byte that belongs to both.
  public func overlaps(_ other: Self) -> Bool {
    guard byteCount > 0, other.byteCount > 0 else { return false }
    return start >= other.start ? start - other.start < other.byteCount : other.start - start < byteCount
  }
}

/// A CPU that the device tree names.
public struct BoardCPU {
  /// Its affinity, as in MPIDR_EL1.
  public var affinity: UInt64 = 0
  /// Its NUMA node.
  public var node = 0
  /// Whether it is started by firmware's PSCI functions.
  public var isStartedByFirmware = false
}

/// What the device tree describes.
public struct Board {
  /// How many ranges of RAM there may be, and how many reservations.
  public static var maximumRanges: Int { 16 }
  /// How many CPUs there may be.
  public static var maximumCPUs: Int { 8 }
  /// The affinity fields of MPIDR_EL1: Aff3 in bits 39:32, Aff2 to Aff0 in bits 23:0.
  public static var affinityMask: UInt64 { 0xff_00ff_ffff }

  /// Why the tree was not read to its end, if it was not.
  public private(set) var error: DeviceTreeError?

  /// The RAM.
  public private(set) var memory = InlineArray<16, BoardRange>(repeating: BoardRange())
  /// How many ranges of RAM there are.
  public private(set) var memoryCount = 0
  /// Parts of the RAM that firmware or a device owns.
  public private(set) var reservations = InlineArray<16, BoardRange>(repeating: BoardRange())
  /// How many of them there are.
  public private(set) var reservationCount = 0
  /// How many ranges did not fit.
  public private(set) var rangesLeftOut = 0

  /// The CPUs, the one that the kernel was started on first, then in the tree's order: their numbers.
  public private(set) var cpus = InlineArray<8, BoardCPU>(repeating: BoardCPU())
  /// How many there are, those that did not fit included.
  public private(set) var cpuCount = 0
  /// Whether the tree names the CPU that the kernel was started on.
  public private(set) var namesBootCPU = false

  /// The PL011's registers, or zero bytes where there is none.
  public private(set) var uart = BoardRange()
  /// The distributor of a GICv2, or zero bytes.
  public private(set) var distributor = BoardRange()
  /// The CPU interface of a GICv2, or zero bytes.
  public private(set) var cpuInterface = BoardRange()
  /// Whether there is an interrupt controller that is not understood.
  public private(set) var hasForeignInterruptController = false
  /// The private interrupt of the virtual timer (0…15), or -1.
  public private(set) var timerInterrupt = -1
  /// How firmware is called.
  public private(set) var firmware = BoardFirmware()

  /// What the boot loader has loaded beside the kernel, or zero bytes.
  public private(set) var initialRAMDisk = BoardRange()
  /// The kernel's command line, which may end in a zero byte.
  public private(set) var commandLine = DeviceTreeValue.empty

  /// Gathers what a tree says.
  ///
  /// - Parameters:
  ///   - tree: the tree.
  ///   - bootAffinity: the affinity of the CPU that the kernel was started on.
  public init(_ tree: FlattenedDeviceTree, bootAffinity: UInt64) {
    do throws(DeviceTreeError) {
      try readNodes(tree, bootAffinity)
      var index = 0
      while let reservation = try tree.reservation(index) {
        reserve(BoardRange(start: reservation.start, byteCount: reservation.byteCount))
        index += 1
      }
    } catch {
      self.error = error
    }
  }

  private mutating func reserve(_ range: BoardRange) {
    Self.add(range, to: &reservations, &reservationCount, leftOut: &rangesLeftOut)
  }

  // A range without a byte says nothing.
  private static func add(
    _ range: BoardRange, to ranges: inout InlineArray<16, BoardRange>, _ count: inout Int, leftOut: inout Int
  ) {
    guard range.byteCount > 0 else { return }
    guard count < maximumRanges else {
      leftOut += 1
      return
    }
    ranges[count] = range
    count += 1
  }

  // Properties come before child nodes, so a node is complete when its first child begins or it ends.
  private mutating func readNodes(_ tree: FlattenedDeviceTree, _ bootAffinity: UInt64) throws(DeviceTreeError) {
    var cursor = DeviceTreeCursor(tree)
    // For each depth, what the node there says of its children; the root's parent says nothing.
    var cells = InlineArray<65, CellCounts>(repeating: CellCounts())
    var depth = 0
    var reservedDepth = Int.max
    var node = NodeProperties()
    while true {
      switch try cursor.next() {
      case .beginNode(let name):
        if depth > 0 { finish(&node, cells[depth - 1], isReservation: depth > reservedDepth, bootAffinity) }
        depth = cursor.depth
        node = NodeProperties()
        node.isChosen = depth == 2 && name.equals("chosen")
        if depth == 2, name.equals("reserved-memory") { reservedDepth = depth }
        cells[depth] = CellCounts()
      case .endNode:
        finish(&node, cells[depth - 1], isReservation: depth > reservedDepth, bootAffinity)
        depth = cursor.depth
        if depth < reservedDepth { reservedDepth = .max }
      case .property(let name, let value):
        if name.equals("#address-cells") {
          cells[depth].address = try CellCounts.count(value)
        } else if name.equals("#size-cells") {
          cells[depth].size = try CellCounts.count(value)
        } else {
          node.note(name, value)
        }
      case .end:
        return
      }
    }
  }

  private mutating func finish(
    _ node: inout NodeProperties, _ cells: CellCounts, isReservation: Bool, _ bootAffinity: UInt64
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
      for index in 0..<node.rangeCount(cells) { reserve(node.range(index, cells)) }
    } else if node.deviceType.contains("memory") {
      for index in 0..<node.rangeCount(cells) {
        Self.add(node.range(index, cells), to: &memory, &memoryCount, leftOut: &rangesLeftOut)
      }
    } else if node.deviceType.contains("cpu") {
      addCPU(node, addressCells: Int(cells.address), bootAffinity)
    } else {
      readDevice(node, cells)
    }
  }

  private mutating func addCPU(_ node: NodeProperties, addressCells: Int, _ bootAffinity: UInt64) {
    let affinity = UInt64(node.registers.number(at: 0, cells: min(addressCells, node.registers.cellCount)))
    let isStarted = node.enableMethod.contains("psci")
    let cpu = BoardCPU(affinity: affinity, node: node.numaNode, isStartedByFirmware: isStarted)
    if cpuCount < Self.maximumCPUs { cpus[cpuCount] = cpu }
    // This one goes to the front, the others keep their order.
    if affinity == bootAffinity & Self.affinityMask {
      namesBootCPU = true
      for index in stride(from: min(cpuCount, Self.maximumCPUs - 1), to: 0, by: -1) {
        cpus[index] = cpus[index - 1]
      }
      cpus[0] = cpu
    }
    cpuCount += 1
  }

  private mutating func readDevice(_ node: NodeProperties, _ cells: CellCounts) {
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
      if node.interrupts.cellCount >= 9, node.interrupts.cell(6) == 1, node.interrupts.cell(7) < 16 {
        timerInterrupt = Int(node.interrupts.cell(7))
      }
    } else if node.compatible.contains("arm,psci-1.0") || node.compatible.contains("arm,psci-0.2") {
      firmware = BoardFirmware(node, hasStandardFunctions: true)
    } else if node.compatible.contains("arm,psci") {
      firmware = BoardFirmware(node, hasStandardFunctions: false)
    }
  }
}
