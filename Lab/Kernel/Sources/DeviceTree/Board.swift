// The board as the device tree describes it: everything that the kernel needs, gathered in one pass.
//
// An error in the tree ends the pass; what was read before stays, and may include a console to report the error on.

/// A range of physical memory in the device tree.
public struct BoardRange: Equatable, Sendable {
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
  /// The way in which it is started.
  public enum StartMethod: UInt8 {
    /// By a call of PSCI firmware.
    case firmware
    /// By an address in memory, which the CPU reads until it is not 0.
    case spinTable
    /// In a way that the kernel does not know.
    case unknown
  }

  /// Its affinity, as in MPIDR_EL1.
  public var affinity: UInt64 = 0
  /// The physical address of its word in the spin table.
  public var releaseAddress: UInt = 0
  /// Its NUMA node.
  public var node: UInt32 = 0
  /// The way in which it is started.
  public var startMethod = StartMethod.unknown
}

/// Devices found in a pass, until all nodes have been read.
private struct FoundDevices {
  var serialPort: BoardSerialPort?
  var interruptController: BoardInterruptController?
  var unknownController = DeviceTreeValue.empty
  var unknownIsBehindAnother = true
  var timerInterrupts = DeviceTreeValue.empty

  /// Keeps the name of a controller that the kernel does not drive, if it is the first, or the first behind no other.
  mutating func note(unknownController node: NodeProperties) {
    guard unknownController.byteCount == 0 || unknownIsBehindAnother && !node.isBehindAnother else { return }
    unknownController = node.compatible
    unknownIsBehindAnother = node.isBehindAnother
  }
}

/// A board, as its device tree describes it.
public struct Board {
  /// The most ranges of RAM, and the most reservations, that fit.
  public static var maximumRanges: Int { 16 }
  /// The most CPUs that fit: what the scheduler's and others' words have bits for.
  public static var maximumCPUs: Int { 64 }
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
  public private(set) var cpus = InlineArray<64, BoardCPU>(repeating: BoardCPU())
  /// The number of CPUs, including those that did not fit.
  public private(set) var cpuCount = 0
  /// Whether the tree has the boot CPU.
  public private(set) var namesBootCPU = false

  /// The way in which the first CPU is started that is started in an unknown one, as the tree names it.
  public private(set) var unknownStartMethod = DeviceTreeValue.empty

  /// The serial port: the one that the tree chooses, or the first.
  public private(set) var serialPort: BoardSerialPort?
  /// The interrupt controller, if the tree has one that the kernel drives.
  public private(set) var interruptController: BoardInterruptController?
  /// The name of an interrupt controller with registers that the kernel does not drive: the first that CPUs can take interrupts
  /// from.
  ///
  /// It matters only where there is no ``interruptController``: others may be behind one.
  public private(set) var unknownInterruptController = DeviceTreeValue.empty
  /// The private interrupt number of the virtual timer (0…15), or -1.
  public private(set) var timerInterrupt = -1
  /// The registers of all devices that the kernel drives, and empty ranges.
  public private(set) var devices = InlineArray<4, BoardRange>(repeating: BoardRange())
  /// The PSCI firmware.
  public private(set) var firmware = BoardFirmware()
  /// The power manager of a BCM2835 or successor; zero bytes if there is none.
  public private(set) var powerManager = BoardRange()

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
    var found = FoundDevices()
    defer { conclude(found) }
    do throws(DeviceTreeError) {
      // A damaged tree has no choice of a console; the pass below says where the damage is.
      let console = (try? StandardOutput(tree).nodeName) ?? .empty
      try readNodes(tree, bootAffinity, console: console, &found)
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

  // Once all nodes have been read: what one means may depend on another.
  private mutating func conclude(_ found: FoundDevices) {
    if let port = found.serialPort {
      serialPort = port
      devices[0] = port.registers
    }
    devices[1] = powerManager
    interruptController = found.interruptController
    unknownInterruptController = found.unknownController
    switch found.interruptController {
    case .gicV2(let first, let second), .gicV3(let first, let second):
      devices[2] = first
      devices[3] = second
    case .bcm2836(let registers): devices[2] = registers
    case nil: break
    }
    // Four interrupts: secure, non-secure, virtual, hypervisor. Of three cells, the first is the type: 1 is a private interrupt.
    let perInterrupt = found.interruptController?.cellsPerInterrupt ?? 3
    let third = 2 * perInterrupt
    guard found.timerInterrupts.cellCount >= third + perInterrupt,
      perInterrupt != 3 || found.timerInterrupts.cell(third) == 1
    else { return }
    let number = found.timerInterrupts.cell(perInterrupt == 3 ? third + 1 : third)
    if number < 16 { timerInterrupt = Int(number) }
  }

  // Properties come before child nodes, so a node is complete when its first child begins or it ends.
  private mutating func readNodes(
    _ tree: FlattenedDeviceTree, _ bootAffinity: UInt64, console: DeviceTreeValue,
    _ found: inout FoundDevices
  ) throws(DeviceTreeError) {
    var cursor = DeviceTreeCursor(tree)
    var buses = BusAddresses()
    var depth = 0
    var reservedDepth = Int.max
    var node = NodeProperties()
    while true {
      switch try cursor.next() {
      case .beginNode(let name):
        if depth > 0 {
          finish(&node, buses, depth, isReservation: depth > reservedDepth, bootAffinity, &found)
        }
        depth = cursor.depth
        node = NodeProperties()
        node.isChosen = depth == 2 && name.equals("chosen")
        node.isConsole = console.byteCount > 0 && name.equals(console)
        if depth == 2, name.equals("reserved-memory") { reservedDepth = depth }
        buses.beginNode(depth: depth)
      case .endNode:
        finish(&node, buses, depth, isReservation: depth > reservedDepth, bootAffinity, &found)
        depth = cursor.depth
        if depth < reservedDepth { reservedDepth = .max }
      case .property(let name, let value):
        if try !buses.note(name, value, depth: depth) { node.note(name, value) }
      case .end:
        return
      }
    }
  }

  private mutating func finish(
    _ node: inout NodeProperties, _ buses: borrowing BusAddresses, _ depth: Int, isReservation: Bool,
    _ bootAffinity: UInt64, _ found: inout FoundDevices
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
    let cells = buses.cells(depth: depth - 1)
    if isReservation {
      for index in 0..<node.rangeCount(cells) { reserve(node.range(index, cells)) }
    } else if node.deviceType.contains("memory") {
      for index in 0..<node.rangeCount(cells) {
        Self.add(node.range(index, cells), to: &memory, &memoryCount, leftOut: &rangesLeftOut)
      }
    } else if node.deviceType.contains("cpu") {
      addCPU(node, addressCells: Int(cells.address), bootAffinity)
    } else {
      readDevice(node, DeviceRegisters(node, buses, depth), &found)
    }
  }

  private mutating func addCPU(_ node: NodeProperties, addressCells: Int, _ bootAffinity: UInt64) {
    let affinity = UInt64(node.registers.number(at: 0, cells: min(addressCells, node.registers.cellCount)))
    var cpu = BoardCPU(affinity: affinity, node: UInt32(truncatingIfNeeded: node.numaNode))
    if node.enableMethod.contains("psci") {
      cpu.startMethod = .firmware
    } else if node.enableMethod.contains("spin-table"), node.releaseAddress.cellCount > 0 {
      cpu.startMethod = .spinTable
      cpu.releaseAddress = node.releaseAddress.number
    } else if affinity != bootAffinity & Self.affinityMask, unknownStartMethod.byteCount == 0 {
      unknownStartMethod = node.enableMethod
    }
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

  private mutating func readDevice(
    _ node: NodeProperties, _ registers: DeviceRegisters, _ found: inout FoundDevices
  ) {
    if let port = BoardSerialPort(node, registers) {
      if found.serialPort == nil || node.isConsole { found.serialPort = port }
    } else if node.isInterruptController {
      if let controller = BoardInterruptController(node, registers) {
        if found.interruptController == nil { found.interruptController = controller }
      } else if node.registers.byteCount > 0 {
        found.note(unknownController: node)
      }
    } else if node.compatible.contains("arm,armv8-timer") || node.compatible.contains("arm,armv7-timer") {
      found.timerInterrupts = node.interrupts
    } else if node.compatible.contains("arm,psci-1.0") || node.compatible.contains("arm,psci-0.2") {
      firmware = BoardFirmware(node, hasStandardFunctions: true)
    } else if node.compatible.contains("arm,psci") {
      firmware = BoardFirmware(node, hasStandardFunctions: false)
    } else if node.isBCM2835Power, let registers = registers.first {
      powerManager = registers
    }
  }
}
