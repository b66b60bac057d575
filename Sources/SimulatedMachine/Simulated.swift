// The handle of a simulated machine: what code under test is generic over.

import KernelMachine

// `Machine` documents what has no comment here.
// swift-format-ignore: AllPublicDeclarationsHaveDocumentation

/// A simulated machine, as the allocators see it.
///
/// A copyable handle; it keeps its ``Simulation`` alive. Each call is a point at which another CPU may be handed over
/// to, except for reading a constant (``linearMapOffset``, ``virtualAddressBits``, ``kernelRoot``, ``cpuCount``,
/// ``tracksDirtyPages``).
public struct Simulated: Machine, Sendable {
  /// The world behind the handle.
  public let simulation: Simulation

  public var linearMapOffset: UInt { simulation.split.linearBase }

  public var virtualAddressBits: Int { simulation.split.bits }

  public var kernelRoot: PhysicalAddress { simulation.kernelRoot.physicalAddress }

  public var cpuCount: Int { simulation.cpus.count }

  public func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer {
    simulation.pointer(to: address)
  }

  public func clear(_ address: VirtualAddress, byteCount: Int) {
    simulation.clear(address, byteCount: byteCount)
  }

  public func readEntry(at address: PhysicalAddress) -> PageTableEntry { simulation.readEntry(at: address) }

  public func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {
    simulation.writeEntry(entry, at: address)
  }

  public func publishEntries() { simulation.publishEntries() }

  public func completeAccesses() { simulation.completeAccesses() }

  public func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
    let plan = InvalidationPlan(pages, in: space, scope: scope)
    simulation.invalidate(pages, in: space, scope: scope, by: plan)
  }

  public var tracksDirtyPages: Bool { simulation.configuration.tracksDirtyPages }

  public var currentCPU: Int { simulation.currentCPU() }

  public var currentNode: NodeID { simulation.currentNode() }

  public func disableInterrupts() -> InterruptState { simulation.disableInterrupts() }

  public func restoreInterrupts(_ state: InterruptState) { simulation.restoreInterrupts(state) }

  public func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState { simulation.lock(lock) }

  public func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {
    simulation.unlock(lock, restoring: state)
  }

  public var counters: MachineCounters { simulation.counters() }
}

extension Simulated {
  /// Issues what ``invalidate(_:in:scope:)`` does, without waiting for it: ``completeAccesses()`` on the same CPU does.
  public func beginInvalidation(
    _ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope
  ) {
    _ = simulation.beginInvalidation(
      pages, in: space, scope: scope, by: InvalidationPlan(pages, in: space, scope: scope))
  }

  /// Invalidates by other instructions than ``InvalidationPlan`` chooses: what a machine with a mistake does.
  package func invalidate(
    _ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope,
    by change: (TLBInstruction) -> TLBInstruction
  ) {
    var plan = InvalidationPlan(pages, in: space, scope: scope)
    plan.instruction = change(plan.instruction)
    simulation.invalidate(pages, in: space, scope: scope, by: plan)
  }

  /// Loads a value through the MMU of the current CPU.
  ///
  /// - Throws: the abort that the CPU would take.
  public func load<Value: BitwiseCopyable>(
    _ address: VirtualAddress, as type: Value.Type = UInt64.self, privilege: Privilege = .kernel
  ) throws(SimulatedFault) -> Value {
    try simulation.load(address, as: type, privilege: privilege)
  }

  /// Stores a value through the MMU of the current CPU.
  ///
  /// - Throws: the abort that the CPU would take; memory is then unchanged.
  public func store<Value: BitwiseCopyable>(
    _ value: Value, to address: VirtualAddress, privilege: Privilege = .kernel
  ) throws(SimulatedFault) {
    try simulation.store(value, to: address, privilege: privilege)
  }

  /// Fetches an instruction through the MMU of the current CPU.
  ///
  /// - Throws: the abort that the CPU would take.
  public func fetch(_ address: VirtualAddress, privilege: Privilege = .kernel) throws(SimulatedFault) {
    try simulation.fetch(address, privilege: privilege)
  }

  /// Puts a user address space into TTBR0_EL1 of the current CPU, or takes the last one out.
  ///
  /// - Parameters:
  ///   - root: the physical address of its root table; `nil` for no user space.
  ///   - space: its identifier, not that of the kernel.
  public func activate(root: PhysicalAddress?, space: AddressSpaceID = .kernel) {
    simulation.activate(root: root, space: space)
  }
}
