// ASIDs for any number of address spaces, out of the few that a CPU has, handed out by generations.
//
//    63                    bits bits-1     0
//   +--------------------------+-----------+
//   |        generation        |   ASID    |   a tag: of an address space, or of a CPU
//   +--------------------------+-----------+
//
// An address space is only used with an ASID of the current generation. When all ASIDs are taken, the next generation begins
// (rollover): all become free but those that CPUs may be using at that moment, which stay with their address spaces. One
// invalidation drops the translations of all others on every CPU.
//
// The tags that a CPU may be using are in two words of its own, which the rollover reads:
//
//                        claimed    used
//   claim, no lock       new        old       compare-and-swap, not from 0
//   TTBR0_EL1 = new; ISB
//                        new        new       store-release
//   a rollover, there    0          new       exchange: the next claim has to take the lock
//
// The exchange sees a claim made before it, and makes one made after it fail. So until a CPU takes the lock, it uses one of the
// two tags that the rollover has kept. `used` is never older than TTBR0_EL1, by release order: it is stored before the next
// claim is.
//
// Source: Linux, arch/arm64/mm/context.c; there each CPU drops its cached translations by itself, at its next switch.

import KernelStacks
import Synchronization

/// The tags of one CPU, in a cache line of its own; its CPU writes them with interrupts off, a rollover with the lock held.
struct CPUTags: ~Copyable {
  /// The tag that the CPU uses or is about to use; 0 since the last rollover.
  let claimed = Atomic<UInt64>(0)
  /// The tag that the CPU uses, or used before the claimed one.
  let used = Atomic<UInt64>(0)
  /// Both as of the last rollover; under the lock.
  var keptClaim: UInt64 = 0
  var keptUse: UInt64 = 0

  static var stride: Int { 64 }
}

/// The state that all CPUs share.
private struct SharedTags: ~Copyable {
  var lock = SpinLock()
  /// The current generation, with ASID 0.
  let generation: Atomic<UInt64>
  /// No ASID below this is free; under the lock.
  var lowestFree = 1
  /// The number of rollovers; under the lock.
  var rollovers = 0

  init(bits: UInt64) { generation = Atomic(1 << bits) }
}

/// The allocator of ASIDs: a handle, whose records lie in frames.
public struct AddressSpaceTags<M: Machine> {
  private let machine: M
  private let bits: UInt64
  private let cpuCount: Int
  private let recordFrame: PageFrame
  private let recordOrder: Int
  private let bitmapFrame: PageFrame
  private let bitmapOrder: Int
  private let shared: UnsafeMutablePointer<SharedTags>
  /// A bit for each ASID that is taken or kept; under the lock.
  private let taken: UnsafeMutablePointer<UInt64>

  /// The number of ASIDs, including 0, which is never handed out.
  private var count: Int { 1 << Int(bits) }

  /// Makes an allocator of ASIDs of `bits` bits, all free.
  ///
  /// - Parameters:
  ///   - machine: the machine.
  ///   - bits: the length of an ASID, at most 16; more than twice as many ASIDs as CPUs are required.
  ///   - frames: the source of the records.
  /// - Throws: the refusal of a record's frames; nothing stays allocated.
  public init<Frames: FrameSource & ~Copyable>(
    machine: M, bits: Int, frames: borrowing Frames
  ) throws(FrameSourceError) {
    precondition(bits <= 16 && 1 << bits > 2 * machine.cpuCount + 1, "too few ASIDs")
    self.machine = machine
    self.bits = UInt64(bits)
    cpuCount = machine.cpuCount
    recordOrder = Self.order(CPUTags.stride * (1 + machine.cpuCount))
    bitmapOrder = Self.order((1 << bits + 63) / 64 * 8)
    recordFrame = try frames.allocate(FrameRequest(order: recordOrder, purpose: .metadata, cleared: true))
    do {
      bitmapFrame = try frames.allocate(FrameRequest(order: bitmapOrder, purpose: .metadata, cleared: true))
    } catch {
      returnFrame(recordFrame, order: recordOrder, to: frames)
      throw error
    }
    let records = machine.pointer(to: recordFrame.physicalAddress)
    shared = records.bindMemory(to: SharedTags.self, capacity: 1)
    shared.initialize(to: SharedTags(bits: UInt64(bits)))
    for cpu in 1...machine.cpuCount {
      (records + cpu * CPUTags.stride).bindMemory(to: CPUTags.self, capacity: 1).initialize(to: CPUTags())
    }
    taken = machine.pointer(to: bitmapFrame.physicalAddress).assumingMemoryBound(to: UInt64.self)
  }

  private static func order(_ byteCount: Int) -> Int {
    var order = 0
    while pageSize << order < byteCount { order += 1 }
    return order
  }

  /// Frees the records; no CPU uses an address space.
  public func release<Frames: FrameSource & ~Copyable>(to frames: borrowing Frames) {
    returnFrame(bitmapFrame, order: bitmapOrder, to: frames)
    returnFrame(recordFrame, order: recordOrder, to: frames)
  }

  /// The number of rollovers.
  public var rolloverCount: Int {
    let interrupts = machine.lock(lock)
    defer { machine.unlock(lock, restoring: interrupts) }
    return shared.pointee.rollovers
  }

  /// The ASID of a tag, or `nil` for an address space that no CPU has used yet.
  public func identifier(_ tag: UInt64) -> AddressSpaceID? {
    tag == 0 ? nil : AddressSpaceID(UInt16(truncatingIfNeeded: tag & (1 << bits - 1)))
  }

  private var lock: UnsafeMutablePointer<SpinLock> {
    UnsafeMutableRawPointer(shared).assumingMemoryBound(to: SpinLock.self)
  }

  /// The name of the lock at an address, for reports of waits; `nil` if it is not this one's.
  public func lockName(at address: UInt) -> StaticString? {
    UInt(bitPattern: shared) == address ? "addressSpaceTags" : nil
  }

  private func tags(of cpu: Int) -> UnsafeMutablePointer<CPUTags> {
    (UnsafeMutableRawPointer(shared) + (1 + cpu) * CPUTags.stride).assumingMemoryBound(to: CPUTags.self)
  }

  // MARK: Switching

  /// Switches the current CPU to an address space.
  ///
  /// Interrupts are off. No other CPU uses the address space.
  ///
  /// - Parameters:
  ///   - tag: the tag of the address space, initially 0; replaced if it is of an earlier generation.
  ///   - drop: drops, on all CPUs, the translations of all ASIDs for which ``isTaken(_:)`` is false; the lock is held.
  ///   - enter: writes the address space to TTBR0_EL1 with the ASID given, and synchronizes the context.
  public func activate(
    _ tag: inout UInt64, drop: (Self) -> Void, enter: (AddressSpaceID) -> Void
  ) {
    let own = tags(of: machine.currentCPU)
    let last = own.pointee.claimed.load(ordering: .relaxed)
    if last == 0 || !isCurrent(tag)
      || !own.pointee.claimed.compareExchange(
        expected: last, desired: tag, ordering: .acquiringAndReleasing
      ).exchanged
    {
      claim(&tag, own, drop)
    }
    enter(AddressSpaceID(UInt16(truncatingIfNeeded: tag & (1 << bits - 1))))
    own.pointee.used.store(tag, ordering: .releasing)
  }

  private func isCurrent(_ tag: UInt64) -> Bool {
    (tag ^ shared.pointee.generation.load(ordering: .relaxed)) >> bits == 0
  }

  @inline(never)
  private func claim(
    _ tag: inout UInt64, _ own: UnsafeMutablePointer<CPUTags>, _ drop: (Self) -> Void
  ) {
    let interrupts = machine.lock(lock)
    if !isCurrent(tag) { tag = currentTag(insteadOf: tag, drop) }
    own.pointee.claimed.store(tag, ordering: .releasing)
    machine.unlock(lock, restoring: interrupts)
  }

  // The functions below run with the lock held.

  private func currentTag(insteadOf old: UInt64, _ drop: (Self) -> Void) -> UInt64 {
    if old != 0 {
      let same = shared.pointee.generation.load(ordering: .relaxed) | old & (1 << bits - 1)
      if keep(old, as: same) { return same }
    }
    if lowestFree() == nil { rollOver(drop) }
    guard let free = lowestFree() else { preconditionFailure("more ASIDs are kept than CPUs can use") }
    take(free)
    return shared.pointee.generation.load(ordering: .relaxed) | UInt64(free)
  }

  // Moves a kept tag to its new generation; returns whether `old` was kept.
  private func keep(_ old: UInt64, as new: UInt64) -> Bool {
    var isKept = false
    for cpu in 0..<cpuCount {
      let tags = tags(of: cpu)
      if tags.pointee.keptClaim == old {
        tags.pointee.keptClaim = new
        isKept = true
      }
      if tags.pointee.keptUse == old {
        tags.pointee.keptUse = new
        isKept = true
      }
    }
    return isKept
  }

  private func rollOver(_ drop: (Self) -> Void) {
    shared.pointee.generation.add(1 << bits, ordering: .relaxed)
    taken.update(repeating: 0, count: (count + 63) / 64)
    for cpu in 0..<cpuCount {
      let tags = tags(of: cpu)
      // A CPU without a claim since the last rollover still uses a tag kept then.
      let claimed = tags.pointee.claimed.exchange(0, ordering: .acquiringAndReleasing)
      if claimed != 0 { tags.pointee.keptClaim = claimed }
      tags.pointee.keptUse = tags.pointee.used.load(ordering: .acquiring)
      take(Int(tags.pointee.keptClaim & (1 << bits - 1)))
      take(Int(tags.pointee.keptUse & (1 << bits - 1)))
    }
    shared.pointee.lowestFree = 1
    shared.pointee.rollovers += 1
    drop(self)
  }

  private func take(_ identifier: Int) { taken[identifier / 64] |= 1 << UInt64(identifier % 64) }

  private func lowestFree() -> Int? {
    var candidate = shared.pointee.lowestFree
    while candidate < count, isTaken(candidate) { candidate += 1 }
    shared.pointee.lowestFree = candidate
    return candidate < count ? candidate : nil
  }

  /// Whether an ASID is taken or kept; for the function that drops all others.
  public func isTaken(_ identifier: Int) -> Bool { taken[identifier / 64] >> UInt64(identifier % 64) & 1 == 1 }

  /// Drops the translations of each free ASID on all CPUs, one ASID after the other.
  ///
  /// For machines without one operation for all of them. Called within `drop` of ``activate(_:drop:enter:)``.
  public func dropEachFree() {
    for identifier in 1..<count where !isTaken(identifier) {
      machine.invalidate(.everything, in: AddressSpaceID(UInt16(identifier)), scope: .tablesAndLeaves)
    }
  }
}
