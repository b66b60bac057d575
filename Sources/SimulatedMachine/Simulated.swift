// The handle of a simulated machine: the `Machine` of code under test.

import KernelMachine

/// A simulated machine, as the allocators see it.
///
/// A copyable handle; it keeps its ``Simulation`` alive. At each call the seed may switch to another CPU, except when the
/// call reads a constant (``linearMapOffset``, ``virtualAddressBits``, ``kernelRoot``, ``cpuCount``,
/// ``tracksDirtyPages``, ``updatesAccessFlags``).
public struct Simulated: PageTableMachine, MeasuredMachine, AccessFlagMachine, ExclusiveAccessMachine, Sendable
{
  /// The simulation that the handle stands for.
  public let simulation: Simulation

  /// The lowest address of the linear map, a constant.
  public var linearMapOffset: UInt { simulation.split.linearBase }

  /// The number of translated address bits, a constant of the configuration: 39 or 48.
  public var virtualAddressBits: Int { simulation.split.bits }

  /// The root table of the kernel's half, in the frame ``Simulation/kernelRoot``, a constant.
  public var kernelRoot: PhysicalAddress { simulation.kernelRoot.physicalAddress }

  /// The number of CPUs, a constant of the configuration: 1…64.
  public var cpuCount: Int { simulation.cpus.count }

  /// The host address of a byte of simulated memory; accesses through it are not checked.
  ///
  /// An address outside memory ends the process.
  public func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer {
    simulation.pointer(to: address)
  }

  /// Fills whole pages with zeroes, through the MMU, and checks that their frames may be reused.
  ///
  /// Bounds that are not multiples of 4,096 bytes are a violation, and nothing is cleared.
  public func clear(_ address: VirtualAddress, byteCount: Int) {
    simulation.clear(address, byteCount: byteCount)
  }

  /// The newest value of an entry; with dirty state, the seed decides whether an update that is not ordered is seen.
  ///
  /// An unaligned address, or one outside memory, is a violation and reads as empty.
  public func readEntry(at address: PhysicalAddress) -> PageTableEntry { simulation.readEntry(at: address) }

  /// Stores an entry, which walkers may see in its old form until this CPU publishes, and checks the TLB rule.
  ///
  /// An unaligned address, or one outside memory, is a violation, and nothing is stored.
  public func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {
    simulation.writeEntry(entry, at: address)
  }

  /// Replaces an entry if it has the expected value, all updates by CPUs included, and checks the TLB rule.
  ///
  /// An unaligned address, or one outside memory, is a violation, and nothing is replaced.
  public func replaceEntry(
    _ expected: PageTableEntry, with entry: PageTableEntry, at address: PhysicalAddress
  ) -> Bool {
    simulation.replaceEntry(expected, with: entry, at: address)
  }

  /// Updates an entry, unless a CPU has stored to it since it was read, or has cleared its frame; lets other CPUs run in between.
  ///
  /// Stores through ``pointer(to:)`` are found out if they have changed the value. In one of eight cases it fails without a reason.
  /// An unaligned address, or one outside memory, is a violation, and nothing is updated.
  public func updateEntry(
    atLinear address: VirtualAddress, _ update: (PageTableEntry) -> PageTableEntry?
  ) -> PageTableEntry? {
    simulation.updateEntry(at: PhysicalAddress(address.rawValue &- linearMapOffset), update)
  }

  /// Makes the page-table stores of this CPU, and of no other, visible to all walkers.
  public func publishEntries() { simulation.publishEntries() }

  /// Completes the stores, updates of dirty state and invalidations that this CPU, and no other, has begun.
  public func completeAccesses() { simulation.completeAccesses() }

  /// Issues the invalidation that ``InvalidationPlan`` chooses, lets other CPUs run, then waits for it.
  ///
  /// It drops exactly what the instructions name. Bounds that are not multiples of 4,096 are a violation.
  public func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
    let plan = InvalidationPlan(pages, in: space, scope: scope)
    simulation.invalidate(pages, in: space, scope: scope, by: plan)
  }

  /// Whether CPUs keep dirty state, a constant of the configuration.
  public var tracksDirtyPages: Bool { simulation.configuration.tracksDirtyPages }

  /// Whether CPUs set access flags, a constant of the configuration.
  public var updatesAccessFlags: Bool { simulation.configuration.updatesAccessFlags }

  /// The number of the CPU that runs the caller, from 0.
  public var currentCPU: Int { simulation.currentCPU() }

  /// The NUMA node that the configuration gives the current CPU.
  public var currentNode: NodeID { simulation.currentNode() }

  /// Turns interrupts of the current CPU off: until they are on again, its thread does not move.
  public func disableInterrupts() -> InterruptState { simulation.disableInterrupts() }

  /// Restores interrupts; to turn them on while a lock is held is a violation.
  public func restoreInterrupts(_ state: InterruptState) { simulation.restoreInterrupts(state) }

  /// Takes a lock; while another CPU has it, others run.
  ///
  /// A lock that this CPU holds, or that can never become free, is a violation.
  public func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState { simulation.lock(lock) }

  /// Lets other CPUs run.
  public func relax() { simulation.relax() }

  /// Releases a lock; it is a violation if the current CPU does not hold it.
  public func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {
    simulation.unlock(lock, restoring: state)
  }

  /// Invalidations, their instructions, and locks taken since the simulation was made; `instructions` is 0.
  public var counters: MachineCounters { simulation.counters() }
}

extension Simulated {
  /// Issues the invalidation of ``invalidate(_:in:scope:)`` without waiting: ``completeAccesses()`` on the same CPU waits.
  public func beginInvalidation(
    _ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope
  ) {
    _ = simulation.beginInvalidation(
      pages, in: space, scope: scope, by: InvalidationPlan(pages, in: space, scope: scope))
  }

  /// Invalidates by other instructions than ``InvalidationPlan`` chooses, as a machine with a mistake does.
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
  /// - Parameters:
  ///   - address: where it lies; it must not cross a page boundary.
  ///   - type: its type.
  ///   - privilege: the exception level of the access.
  /// - Throws: the abort that the CPU would take.
  public func load<Value: BitwiseCopyable>(
    _ address: VirtualAddress, as type: Value.Type = UInt64.self, privilege: Privilege = .kernel
  ) throws(SimulatedFault) -> Value {
    try simulation.load(address, as: type, privilege: privilege)
  }

  /// Stores a value through the MMU of the current CPU.
  ///
  /// - Parameters:
  ///   - value: the value.
  ///   - address: where it goes; it must not cross a page boundary.
  ///   - privilege: the exception level of the access.
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

  /// Makes a user address space the current CPU's (TTBR0_EL1), or removes the current one.
  ///
  /// - Parameters:
  ///   - root: the physical address of its root table; `nil` for no user space.
  ///   - space: its ASID, not that of the kernel.
  public func activate(root: PhysicalAddress?, space: AddressSpaceID = .kernel) {
    simulation.activate(root: root, space: space)
  }
}
