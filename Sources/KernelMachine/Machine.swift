// Everything that the allocator asks of its surroundings. This is the interface that a new kernel implements.

/// A CPU, its MMU, and the few services a kernel around it must give.
///
/// A conforming type is a handle, cheap to copy and usually without stored properties; all copies mean the same machine.
///
/// **Order of page-table stores.** ``writeEntry(_:at:)`` is one single-copy atomic store. It becomes visible to the table
/// walkers of all CPUs when ``publishEntries()`` returns, and may become visible before. After a valid entry was made
/// invalid, CPUs may go on using it until ``invalidate(_:in:scope:)`` returns.
///
/// **Threads that move.** A barrier waits for what its own CPU did. The allocators call ``publishEntries()`` and
/// ``invalidate(_:in:scope:)`` also with interrupts on. So before a kernel lets a thread that it has taken off a CPU go on on
/// another, it makes that CPU wait by ``completeAccesses()``; likewise the CPU that makes a new thread, before others may run
/// it. Linux does the same in its context switch; the scheduler of this package does both.
public protocol Machine {
  // MARK: Memory

  /// What is added to a physical address to get its address in the linear map.
  var linearMapOffset: UInt { get }

  /// A pointer through which this code can read and write the frame at `address` now.
  ///
  /// In a kernel this is the linear map's address; in a simulator, the host's.
  func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer

  /// Fills memory with zeroes, at an address in the linear map or in a mapped part of the vmalloc area.
  ///
  /// - Parameters:
  ///   - address: a multiple of 4,096.
  ///   - byteCount: a multiple of 4,096.
  func clear(_ address: VirtualAddress, byteCount: Int)

  // MARK: Page tables

  /// How many bits of a kernel address are translated: 39 or 48.
  var virtualAddressBits: Int { get }

  /// Reads a page-table entry.
  func readEntry(at address: PhysicalAddress) -> PageTableEntry

  /// Writes a page-table entry, in one store.
  func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress)

  // The same by an entry's address in the linear map, for code that has it at hand; a machine need not have its own.

  /// Reads an entry, as ``readEntry(at:)`` does.
  func readEntry(atLinear address: VirtualAddress) -> PageTableEntry

  /// Writes an entry, as ``writeEntry(_:at:)`` does.
  func writeEntry(_ entry: PageTableEntry, atLinear address: VirtualAddress)

  /// Makes all earlier page-table stores of this CPU visible to all table walkers (DSB ISHST; ISB).
  func publishEntries()

  /// Waits until all that this CPU has done has completed for all CPUs: its accesses, the dirty state that they left in
  /// entries, and the invalidations that it has issued (DSB ISH).
  ///
  /// A CPU's own update of an entry is no store of the program: neither ``publishEntries()`` nor a lock orders it.
  func completeAccesses()

  /// Publishes earlier stores, then drops the translations of a range of pages on all CPUs, and waits for completion.
  ///
  /// - Parameters:
  ///   - pages: page-aligned bounds; more may be dropped where that is cheaper. ``VirtualAddressRange/everything`` drops
  ///     the whole space.
  ///   - space: whose translations.
  ///   - scope: whether table entries may have changed, or only last-level entries, or both.
  func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope)

  /// Whether all CPUs keep dirty state in ``PageTableEntry/writableClean`` entries; false unless a machine says otherwise.
  ///
  /// It never changes.
  var tracksDirtyPages: Bool { get }

  /// Where MAIR_EL1 has each kind of memory, on all CPUs; ``MemoryAttributeIndices/standard`` unless a machine says otherwise.
  ///
  /// It never changes.
  var memoryAttributes: MemoryAttributeIndices { get }

  // MARK: CPUs

  /// What a loop that waits for another CPU does before it looks again; nothing unless a machine says otherwise (YIELD).
  ///
  /// A machine that runs its CPUs in turn goes on to the next one here; it need not do so anywhere else.
  func relax()

  /// The number of the CPU that executes this, from 0. Stable only while interrupts are off.
  var currentCPU: Int { get }

  /// How many CPUs there can be.
  var cpuCount: Int { get }

  /// The NUMA node that the current CPU belongs to.
  var currentNode: NodeID { get }

  /// Disables interrupts on this CPU and says how they were before.
  func disableInterrupts() -> InterruptState

  /// Restores interrupts to what ``disableInterrupts()`` said.
  func restoreInterrupts(_ state: InterruptState)

  /// Disables interrupts on this CPU, then takes the lock. Not recursive.
  func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState

  /// Releases the lock, then restores interrupts.
  func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState)
}

/// A machine whose kernel tables are built here, from their root down: what ``Machine`` leaves to its kernel.
///
/// The tables and the vmalloc area of this package need it; the allocators of frames and stacks do not.
public protocol PageTableMachine: Machine {
  /// The root translation table of the kernel's half of the address space (TTBR1_EL1).
  var kernelRoot: PhysicalAddress { get }
}

extension Machine {
  /// No: whether a page was written is not known.
  public var tracksDirtyPages: Bool { false }

  /// Does nothing.
  public func relax() {}

  /// Normal memory at index 0, device memory at 1.
  public var memoryAttributes: MemoryAttributeIndices { .standard }

  /// Reads an entry by its physical address.
  @inline(__always) public func readEntry(atLinear address: VirtualAddress) -> PageTableEntry {
    readEntry(at: PhysicalAddress(address.rawValue &- linearMapOffset))
  }

  /// Writes an entry by its physical address.
  @inline(__always) public func writeEntry(_ entry: PageTableEntry, atLinear address: VirtualAddress) {
    writeEntry(entry, at: PhysicalAddress(address.rawValue &- linearMapOffset))
  }

  /// The address of a frame in the linear map.
  public func linearAddress(of frame: PageFrame) -> VirtualAddress {
    VirtualAddress(frame.physicalAddress.rawValue &+ linearMapOffset)
  }

  /// The frame behind an address of the linear map.
  public func frame(ofLinear address: VirtualAddress) -> PageFrame {
    PhysicalAddress(address.rawValue &- linearMapOffset).frame
  }
}

/// A half-open range of virtual addresses with page-aligned bounds.
public struct VirtualAddressRange: Equatable, Hashable, Sendable {
  /// The first address.
  public var lowerBound: VirtualAddress
  /// The first address above the range.
  public var upperBound: VirtualAddress

  /// The range from `lowerBound` up to but not including `upperBound`.
  public init(_ lowerBound: VirtualAddress, _ upperBound: VirtualAddress) {
    self.lowerBound = lowerBound
    self.upperBound = upperBound
  }

  /// The range of `byteCount` bytes from `lowerBound`.
  public init(_ lowerBound: VirtualAddress, byteCount: Int) {
    self.init(lowerBound, lowerBound + byteCount)
  }

  /// All addresses of a space.
  public static var everything: Self { Self(VirtualAddress(0), VirtualAddress(UInt.max)) }

  /// The length in bytes.
  public var byteCount: Int { upperBound - lowerBound }

  /// The length in pages.
  public var pageCount: Int { byteCount &>> 12 }

  /// Whether an address lies in the range.
  public func contains(_ address: VirtualAddress) -> Bool {
    address >= lowerBound && address < upperBound
  }
}

/// Names an address space for TLB invalidation: the kernel's, or a user's by its ASID.
public struct AddressSpaceID: Equatable, Hashable, Sendable {
  /// The ASID; 0 stands for the kernel's global translations.
  public var rawValue: UInt16

  /// Wraps an ASID.
  public init(_ rawValue: UInt16) { self.rawValue = rawValue }

  /// The kernel's half, shared by all.
  public static var kernel: Self { Self(0) }
}

/// Which cached translations an invalidation has to drop.
public enum InvalidationScope: UInt8, Equatable, Sendable {
  /// Last-level entries only: enough where tables stay.
  case leaves
  /// Entries of all levels: needed before a page-table frame is used for anything else.
  case tablesAndLeaves
  /// Entries that point to tables only: the leaf entries below them are invalid, and an invalidation has completed since
  /// they became so.
  case tables
}
