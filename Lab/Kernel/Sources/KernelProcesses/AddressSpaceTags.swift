// ASIDs for any number of address spaces, from the few that a CPU has: handed out by generations.
//
//    63                    bits bits-1     0
//   +--------------------------+-----------+
//   |        generation        |   ASID    |   a tag: of an address space, and of what a CPU walks
//   +--------------------------+-----------+
//
// An address space is walked only with an ASID of the current generation. When all of them are taken, the next generation
// begins (rollover): all ASIDs are free but those that CPUs may be walking with at that moment, which stay with their address
// spaces. Of all others every CPU drops what it has cached, by one invalidation.
//
// What a CPU may be walking with is in two words of its own, which the rollover reads:
//
//                        claimed    used
//   claim, no lock       new        old       compare-and-swap, not from 0
//   TTBR0_EL1 = new; ISB
//                        new        new       store-release
//   a rollover, there    0          new       exchange: the next claim has to take the lock
//
// A claim that came before the exchange is seen by it; one that comes after it fails. So until the CPU takes the lock, it walks
// with one of the two tags that the rollover has kept. That `used` is not older than what TTBR0_EL1 holds follows from the order
// of release: it is stored before the next claim is.
//
// Source: Linux, arch/arm64/mm/context.c, whose CPUs drop what they have cached each for itself, at their next switch.

import KernelStacks
import Synchronization

/// What one CPU walks user address spaces with, as tags; a cache line of its own.
struct CPUTags: ~Copyable {
  /// What it is about to walk with, or walks with; 0 since the last rollover.
  let claimed = Atomic<UInt64>(0)
  /// What it walks with, or did before what it has claimed.
  let used = Atomic<UInt64>(0)
  /// What the two were at the last rollover; under the lock.
  var keptClaim: UInt64 = 0
  var keptUse: UInt64 = 0

  static var stride: Int { 64 }
}

/// What all CPUs share.
private struct SharedTags: ~Copyable {
  var lock = SpinLock()
  /// The current generation, its ASID 0.
  let generation: Atomic<UInt64>
  /// No ASID below this is free; under the lock.
  var lowestFree = 1
  /// How many rollovers there were; under the lock.
  var rollovers = 0

  init(bits: UInt64) { generation = Atomic(1 << bits) }
}

/// Hands out ASIDs: a handle, whose records lie in frames.
public struct AddressSpaceTags<M: Machine> {
  private let machine: M
  private let bits: UInt64
  private let cpuCount: Int
  private let recordFrame: PageFrame
  private let recordOrder: Int
  private let bitmapFrame: PageFrame
  private let bitmapOrder: Int
  private let shared: UnsafeMutablePointer<SharedTags>
  /// A bit for each ASID that is taken, or kept; under the lock.
  private let taken: UnsafeMutablePointer<UInt64>

  /// How many ASIDs there are, 0 included, which is of none.
  private var count: Int { 1 << Int(bits) }

  /// ASIDs of a number of bits, all of them free.
  ///
  /// - Parameters:
  ///   - machine: the machine.
  ///   - bits: how long an ASID is, 16 at most; there must be more than twice as many as CPUs.
  ///   - frames: where the records come from.
  /// - Throws: when there is no room for them.
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

  /// Gives the records back; no CPU walks an address space.
  public func release<Frames: FrameSource & ~Copyable>(to frames: borrowing Frames) {
    returnFrame(bitmapFrame, order: bitmapOrder, to: frames)
    returnFrame(recordFrame, order: recordOrder, to: frames)
  }

  /// How many rollovers there were.
  public var rolloverCount: Int {
    let interrupts = machine.lock(lock)
    defer { machine.unlock(lock, restoring: interrupts) }
    return shared.pointee.rollovers
  }

  /// The ASID of a tag; `nil` for an address space that no CPU has ever walked.
  public func identifier(_ tag: UInt64) -> AddressSpaceID? {
    tag == 0 ? nil : AddressSpaceID(UInt16(truncatingIfNeeded: tag & (1 << bits - 1)))
  }

  private var lock: UnsafeMutablePointer<SpinLock> {
    UnsafeMutableRawPointer(shared).assumingMemoryBound(to: SpinLock.self)
  }

  private func tags(of cpu: Int) -> UnsafeMutablePointer<CPUTags> {
    (UnsafeMutableRawPointer(shared) + (1 + cpu) * CPUTags.stride).assumingMemoryBound(to: CPUTags.self)
  }

  // MARK: Switching

  /// Lets this CPU walk an address space.
  ///
  /// Interrupts are off. The address space is walked by no other CPU.
  ///
  /// - Parameters:
  ///   - tag: the tag of the address space, at first 0; changed if it is of an earlier generation.
  ///   - drop: makes all CPUs drop what they have cached of all ASIDs for which ``isTaken(_:)`` does not hold.
  ///   - enter: puts the address space into TTBR0_EL1, with the ASID it gets, and synchronizes the context.
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

  // The rest is done with the lock held.

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

  // Whether a tag was kept; it goes by another generation now.
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
      // A CPU that has claimed nothing since the last rollover still walks with what was kept then.
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

  /// Whether an ASID is in use or kept, for the function that drops all others.
  public func isTaken(_ identifier: Int) -> Bool { taken[identifier / 64] >> UInt64(identifier % 64) & 1 == 1 }

  /// Drops what all CPUs have cached of the ASIDs that are free, one after the other.
  ///
  /// A machine that has one instruction for all does not need this.
  public func dropEachFree() {
    for identifier in 1..<count where !isTaken(identifier) {
      machine.invalidate(.everything, in: AddressSpaceID(UInt16(identifier)), scope: .tablesAndLeaves)
    }
  }
}
