// The simulated machine: memory, CPUs, translation tables, the trace and the violations.

import KernelMachine
import SeededRandom

/// A simulated machine of one or several CPUs that takes every liberty that the architecture allows.
///
/// Code under test reaches it through the handle ``machine``. With one CPU, or outside ``run(_:)``, everything runs on
/// the caller's thread.
///
/// Broken rules are collected in ``violations``; a test ends with `#expect(simulation.violations.isEmpty)`.
public final class Simulation: @unchecked Sendable {
  /// The configuration that it was made with.
  public let configuration: SimulationConfiguration
  /// The frame of the kernel's root table.
  public let kernelRoot: PageFrame

  let split: AddressSplit
  let memory: PhysicalMemory
  let translations: TranslationTracker
  let nodes: [NodeID]
  var random: SplitMix64
  var cpus: [SimulatedCPU]
  /// The CPU that runs now; all others wait at a machine call.
  var running = 0
  var runner: CPURunner?
  /// For each CPU that is between an exclusive load and its store, the word, until somebody stores to that.
  var exclusiveAccesses: [Int: UInt] = [:]
  var hash = TraceHash()
  var counted = MachineCounters()
  var allViolations: [Violation] = []
  var recursionDepth: [UInt: Int] = [:]
  var violationsWereRead = false

  /// The number of invalidations of user address spaces; ``MachineCounters`` counts those of the kernel.
  public internal(set) var userInvalidations = 0

  /// The number of pages that stayed mapped when they were to be taken back, though no access had gone through their entries: a
  /// CPU had touched them, or one below, by speculation.
  public internal(set) var untouchedPagesKept = 0

  /// Every machine call so far, if ``SimulationConfiguration/recordsTrace`` is set; otherwise empty.
  public internal(set) var trace: [TraceEvent] = []

  /// Makes a machine.
  ///
  /// - Parameter configuration: its memory, CPUs and seed.
  /// - Throws: the contradiction in the configuration, or ``SimulationError/hostMemoryRefused(byteCount:)``.
  public init(_ configuration: SimulationConfiguration) throws(SimulationError) {
    try configuration.validate()
    self.configuration = configuration
    split = AddressSplit(bits: configuration.virtualAddressBits)
    memory = PhysicalMemory()
    for bank in configuration.memory {
      try memory.add(
        start: bank.start.rawValue, byteCount: bank.byteCount, contents: configuration.initialContents)
    }
    if let root = configuration.kernelRoot {
      guard memory.contains(frame: root.number) else { throw .rootOutsideMemory(root) }
      kernelRoot = root
    } else {
      // A gap of 2 MiB keeps the root from being merged with the memory below it.
      let end = configuration.memory.last!.end.rawValue
      let address = (end + (4 << 20) - 1) & ~((2 << 20) - 1)
      try memory.add(start: address, byteCount: pageSize, contents: .zero)
      kernelRoot = PhysicalAddress(address).frame
    }
    memory.host(kernelRoot.physicalAddress.rawValue)!.initializeMemory(
      as: UInt64.self, repeating: 0, count: 512)
    nodes = configuration.nodes
    cpus = (0..<configuration.cpuCount).map { _ in SimulatedCPU() }
    random = SplitMix64(seed: configuration.seed)
    translations = TranslationTracker(
      memory: memory, split: split, kernelRoot: kernelRoot.number, cpuCount: configuration.cpuCount,
      tracksDirtyPages: configuration.tracksDirtyPages, updatesAccessFlags: configuration.updatesAccessFlags)
  }

  /// Makes a machine with one bank of memory at 1 GiB, where QEMU's `virt` has it.
  ///
  /// - Parameters:
  ///   - memoryBytes: the size of the bank in bytes, a positive multiple of 4,096.
  ///   - cpuCount: the number of CPUs, 1…64.
  ///   - seed: the seed of all choices.
  ///   - virtualAddressBits: 39 or 48.
  /// - Throws: the contradiction in these, or ``SimulationError/hostMemoryRefused(byteCount:)``.
  public convenience init(
    memoryBytes: Int = 16 << 20, cpuCount: Int = 1, seed: UInt64 = 1, virtualAddressBits: Int = 39
  ) throws(SimulationError) {
    try self.init(
      SimulationConfiguration(
        memory: [MemoryBank(start: PhysicalAddress(1 << 30), byteCount: memoryBytes)], cpuCount: cpuCount,
        seed: seed, virtualAddressBits: virtualAddressBits))
  }

  deinit {
    if !violationsWereRead, let first = allViolations.first {
      print("\(allViolations.count) violations that nobody looked at, seed \(configuration.seed): \(first)")
    }
  }

  /// The handle that code under test is given.
  public var machine: Simulated { Simulated(simulation: self) }

  /// The physical memory, without the frame set aside for the root table.
  public var memoryBanks: [MemoryBank] { configuration.memory }

  /// The violations so far, at most the first 1,000.
  public var violations: [Violation] {
    violationsWereRead = true
    return allViolations
  }

  /// Checks that no rule was broken.
  ///
  /// - Throws: ``SimulationError/violated(first:count:)``.
  public func requireNoViolations() throws(SimulationError) {
    if let first = violations.first { throw .violated(first: first.description, count: allViolations.count) }
  }

  /// A hash of all that the CPUs did: operations, arguments, results.
  ///
  /// Equal seeds give equal hashes, on every host.
  public var traceHash: UInt64 { hash.value }

  /// Runs `body` on the caller's thread as the given CPU; outside ``run(_:)`` only.
  ///
  /// It orders nothing between CPUs.
  ///
  /// - Throws: the error of `body`.
  public func onCPU<Result, Failure: Error>(
    _ cpu: Int, _ body: (Simulated) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    precondition(runner == nil && cpus.indices.contains(cpu), "onCPU: no such CPU, or inside a run")
    let before = running
    running = cpu
    defer { running = before }
    return try body(machine)
  }

  // MARK: Recording

  func record(_ operation: TraceEvent.Operation, _ first: UInt64 = 0, _ second: UInt64 = 0) {
    hash.mix(UInt64(running) << 8 | UInt64(operation.rawValue))
    hash.mix(first)
    hash.mix(second)
    if configuration.recordsTrace {
      trace.append(TraceEvent(cpu: running, operation: operation, first: first, second: second))
    }
  }

  func report(
    _ rule: Violation.Rule, _ detail: String, address: UInt? = nil, oldFrame: UInt? = nil, newFrame: UInt? = nil
  ) {
    hash.mix(UInt64(TraceEvent.Operation.violation.rawValue))
    guard allViolations.count < 1_000 else { return }
    allViolations.append(
      Violation(
        rule: rule, cpu: running, address: address.map { VirtualAddress($0) },
        oldFrame: oldFrame.map { PageFrame($0) }, newFrame: newFrame.map { PageFrame($0) }, detail: detail))
  }

  /// Records the violations that the tracker has found.
  func collectFindings() {
    guard !translations.findings.isEmpty else { return }
    for finding in translations.findings {
      report(
        finding.rule, finding.detail, address: finding.address, oldFrame: finding.oldFrame,
        newFrame: finding.newFrame)
    }
    translations.findings.removeAll()
  }
}

/// The state of one CPU.
struct SimulatedCPU {
  var interruptsEnabled = true
  /// The locks it holds, in the order in which they were taken, by host address.
  var heldLocks: [UInt] = []
  /// The lock it waits for.
  var awaitedLock: UInt?
  /// The user address space in TTBR0_EL1.
  var userSpace: UInt16?
}

extension SimulationConfiguration {
  /// The node of each CPU.
  var nodes: [NodeID] {
    if !nodeOfCPU.isEmpty { return nodeOfCPU }
    let nodeCount = Set(memory.map(\.node.index)).count
    return (0..<cpuCount).map { NodeID($0 % nodeCount) }
  }

  func validate() throws(SimulationError) {
    guard !memory.isEmpty else { throw .noMemory }
    guard virtualAddressBits == 39 || virtualAddressBits == 48 else {
      throw .invalidVirtualAddressBits(virtualAddressBits)
    }
    // The linear map takes the upper half of the kernel's half; a physical address has 48 bits at most.
    let reach: UInt = 1 << UInt(virtualAddressBits - 1)
    for bank in memory {
      guard bank.byteCount > 0, bank.byteCount % pageSize == 0, bank.start.rawValue % UInt(pageSize) == 0,
        bank.start.rawValue < reach, bank.start.rawValue + UInt(bank.byteCount) + (4 << 20) <= reach
      else { throw .invalidBank(bank) }
    }
    for (a, b) in zip(memory, memory.dropFirst()) where a.end > b.start { throw .unorderedBanks(a, b) }
    let nodes = Set(memory.map(\.node.index))
    for bank in memory where bank.node.index < 0 || bank.node.index >= nodes.count {
      throw .unknownNode(bank.node)
    }
    guard (1...64).contains(cpuCount) else { throw .invalidCPUCount(cpuCount) }
    guard nodeOfCPU.isEmpty || nodeOfCPU.count == cpuCount else {
      throw .nodeCountMismatch(nodes: nodeOfCPU.count, cpus: cpuCount)
    }
    for node in nodeOfCPU where !nodes.contains(node.index) { throw .unknownNode(node) }
  }
}
