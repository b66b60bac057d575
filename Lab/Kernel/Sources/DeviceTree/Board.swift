// The board as the device tree describes it: everything that the kernel needs, gathered in one pass.
//
// An error in the tree ends the pass; what was read before stays, and may include a console to report the error on.

/// A range of physical memory in the device tree.
public struct BoardRange: Equatable {
  /// The physical address of its first byte.
  public var start: UInt = 0
  /// Its length, in bytes.
  public var byteCount: UInt = 0
  /// Its NUMA node.
  public var node = 0
  /// Whether the kernel must not map it (`no-map`), since a CPU's speculative reads would do harm.
  public var isUnmapped = false

  /// Makes a range.
  public init(start: UInt = 0, byteCount: UInt = 0, node: Int = 0, isUnmapped: Bool = false) {
    self.start = start
    self.byteCount = byteCount
    self.node = node
    self.isUnmapped = isUnmapped
  }

  /// Whether this range contains all bytes of another.
  public func contains(_ other: Self) -> Bool {
    other.start >= start && other.start - start <= byteCount
      && other.byteCount <= byteCount - (other.start - start)
  }

  /// Whether the ranges share a byte.
  public func overlaps(_ other: Self) -> Bool {
    guard byteCount > 0, other.byteCount > 0 else { return false }
    return start >= other.start ? start - other.start < other.byteCount : other.start - start < byteCount
  }
}

/// A CPU in the device tree.
public struct BoardCPU {
  /// Its affinity, as in MPIDR_EL1.
  public var affinity: UInt64 = 0
  /// Its NUMA node.
  public var node = 0
  /// Whether firmware starts it, by PSCI.
  public var isStartedByFirmware = false
}

/// A board, as its device tree describes it.
public struct Board {
  /// The most ranges of RAM, and the most reservations, that fit.
  public static var maximumRanges: Int { 16 }
  /// The most CPUs that fit.
  public static var maximumCPUs: Int { 8 }
  /// The affinity fields of MPIDR_EL1: Aff3 in bits 39:32, Aff2 to Aff0 in bits 23:0.
  public static var affinityMask: UInt64 { 0xff_00ff_ffff }

  /// The error that ended the reading of the tree, or `nil`.
  public private(set) var error: DeviceTreeError?

  /// The RAM.
  public private(set) var memory = InlineArray<16, BoardRange>(repeating: BoardRange())
  /// The number of ranges of RAM.
  public private(set) var memoryCount = 0
  /// The ranges that firmware or devices own.
  public private(set) var reservations = InlineArray<16, BoardRange>(repeating: BoardRange())
  /// The number of reservations.
  public private(set) var reservationCount = 0
  /// The number of ranges that did not fit.
  public private(set) var rangesLeftOut = 0

  /// The CPUs by number: the boot CPU first, then the others in the tree's order.
  public private(set) var cpus = InlineArray<8, BoardCPU>(repeating: BoardCPU())
  /// The number of CPUs, including those that did not fit.
  public private(set) var cpuCount = 0
  /// Whether the tree has the boot CPU.
  public private(set) var namesBootCPU = false

  /// The PL011's registers; zero bytes if there is none.
  public private(set) var uart = BoardRange()
  /// The distributor of the GICv2; zero bytes if there is none.
  public private(set) var distributor = BoardRange()
  /// The CPU interface of the GICv2; zero bytes if there is none.
  public private(set) var cpuInterface = BoardRange()
  /// Whether there is an interrupt controller with registers that is no GICv2, which the kernel does not support.
  public private(set) var hasForeignInterruptController = false
  /// The private interrupt number of the virtual timer (0…15), or -1.
  public private(set) var timerInterrupt = -1
  /// The PSCI firmware.
  public private(set) var firmware = BoardFirmware()

  /// The initial RAM disk; zero bytes if there is none.
  public private(set) var initialRAMDisk = BoardRange()
  /// The kernel's command line, which may end in a zero byte.
  public private(set) var commandLine = DeviceTreeValue.empty

  /// Reads a tree; an error is kept in ``error``.
  ///
  /// - Parameters:
  ///   - tree: the tree.
  ///   - bootAffinity: the affinity of the boot CPU.
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

  // Empty ranges are ignored.
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
    // For each depth, the cell counts for the children of the node there; the root itself has the defaults.
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
    // The boot CPU goes to the front; the others keep their order.
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
    } else if node.isGICv2 {
      if distributor.byteCount == 0, node.rangeCount(cells) > 1 {
        distributor = node.range(0, cells)
        cpuInterface = node.range(1, cells)
      }
    } else if node.isInterruptController, node.rangeCount(cells) > 0 {
      // It matters only where there is no GICv2: other controllers may be below one.
      hasForeignInterruptController = true
    } else if node.compatible.contains("arm,armv8-timer") {
      // Four interrupts of three cells each: secure, non-secure, virtual, hypervisor; type 1 is a private interrupt.
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
