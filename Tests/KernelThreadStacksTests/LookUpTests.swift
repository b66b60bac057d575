// Look-ups by address while the table that they read is released: its frame's new contents are never taken for a stack.

import KernelMachine
@testable import KernelThreadStacks
import KernelVirtualMemory
import SimulatedMachine
import TestSupport
import Testing

@Suite struct LookUpTests {
  typealias Stacks = ThreadStackAllocator<Watched, TestFrames, VmallocArea<Watched>>

  /// The operations that take an address alone.
  enum LookUp: CaseIterable {
    case stack, classify, page, mapped, missing, highWater, dirty, written, retire, release, restore
    case free, freeAtHand

    var strategy: StackStrategy {
      switch self {
      case .missing, .highWater, .retire, .release, .restore: .growing
      default: .vmalloc
      }
    }

    /// Whether it does not read without the lock.
    var isLocked: Bool { self == .written || self == .free }

    /// The word that the new owner of the table's frame has in place of a page's entry.
    func word(for frame: PageFrame) -> UInt64 {
      let page = PageTableEntry.page(frame, .kernelReadWrite)
      return switch self {
      case .missing: 0
      case .release, .restore: page.retired.rawValue
      case .dirty: page.writableClean.writable.rawValue
      case .written: page.writableClean.rawValue
      default: page.rawValue
      }
    }

    /// Whether it finds a stack in use, or part of one, at the base of a stack that has been freed.
    func finds(_ base: VirtualAddress, _ stacks: borrowing Stacks) -> Bool {
      let top = base + stacks.geometry.size
      var batch = ShrinkBatch()
      switch self {
      case .stack:
        do throws(ThreadStackError) {
          _ = try stacks.stack(at: base).detach()
          return true
        } catch { return error != .notLive(base) }
      case .classify: return stacks.classify(address: base) != .unusedSlot(StackBounds(base: base, top: top))
      case .page: return stacks.page(of: base) != nil
      case .mapped: return stacks.mappedPageCount(base) != 0
      case .missing: return stacks.missingPageCount(base) != 0
      case .highWater: return stacks.highWaterPageCount(base) != 0
      case .dirty: return stacks.dirtyPageCount(base) != 0
      case .written:
        stacks.markWritten(base, byteCount: 4096)
        return false
      case .retire: return stacks.retireDeadPages(of: base, below: top, into: &batch) != 0 || !batch.isEmpty
      case .release: return stacks.releaseRetiredPages(of: base) != 0
      case .restore: return stacks.restoreRetiredPages(of: base) != 0
      case .free:
        do throws(ThreadStackError) {
          try stacks.free(at: base)
          return true
        } catch { return error != .notLive(base) }
      case .freeAtHand: return stacks.freeAtHand(at: base)
      }
    }
  }

  /// A stack that has been freed, in a table that holds no other stack.
  private final class Bed {
    let world: World
    let watch = Watch()
    let lookUp: LookUp
    let stacks: Stacks
    let base: VirtualAddress
    /// The frame of the table.
    let table: PageFrame
    private var isTaken = false

    init(_ lookUp: LookUp) throws {
      world = try World(memoryBytes: 2 << 20, tracksDirtyPages: lookUp.strategy == .vmalloc)
      self.lookUp = lookUp
      let machine = Watched(world.machine, watch)
      stacks = try Stacks(
        StackConfiguration(lookUp.strategy, cachedStacksPerCPU: 0, depotStacks: 0), machine: machine,
        frames: TestFrames(ledger: world.ledger), arena: VmallocArea(World.vmallocArea, machine: machine))
      let stack = try stacks.allocate(node: nil)
      base = stack.base
      let entry = stacks.arena.existingLeafEntry(at: stack.base)
      table = try #require(entry).frame
      stacks.free(stack)
    }

    /// Whether the table has gone back.
    var isReleased: Bool { world.ledger.frames(for: .pageTable) == 0 }

    var words: UnsafeMutableBufferPointer<UInt64> {
      let memory = world.ledger.buddy.machine.pointer(to: table.physicalAddress)
      return UnsafeMutableBufferPointer(start: memory.assumingMemoryBound(to: UInt64.self), count: 512)
    }

    /// The new owner's words in the frame: all slots look as if their stacks were in use.
    var fakes: [UInt64] {
      let geometry = stacks.geometry
      let live = StackMarker.live(PackedStack(base: VirtualAddress(0), node: 0, isMixed: false))
      let marker = lookUp == .freeAtHand ? live : live.withDeepestPageCount(4)
      return (0..<512).map { index in
        let place = index * 8 % geometry.windowEntryBytes
        if place == geometry.markerEntryOffset { return marker.entry.rawValue }
        let page = (place - geometry.stackEntryOffset) >> 3
        return (0..<geometry.pageCount).contains(page) ? lookUp.word(for: table) : 0
      }
    }

    /// Gives the table's frame to a new owner, which fills it.
    func takeFrame() {
      var others: [PageFrame] = []
      while let frame = try? world.ledger.buddy.allocate(FrameRequest(purpose: .other)), frame != table {
        others.append(frame)
      }
      for frame in others { try! world.ledger.buddy.free(frame, order: 0) }
      for (index, word) in fakes.enumerated() { words[index] = word }
      isTaken = true
    }

    /// Frees it, empty, so that it is the next frame handed out.
    func giveFrameBack() {
      guard isTaken else { return }
      for index in 0..<512 { words[index] = 0 }
      try! world.ledger.buddy.free(table, order: 0)
      isTaken = false
    }

    var isUntouched: Bool { words.elementsEqual(fakes) }

    /// Has the new owner take the table's frame, and give it back after the look-up's next load there; then it becomes a table
    /// of the same slots again, for the stack that `body` gets.
    func rebuildTableAtNextLoad(_ body: @escaping (consuming ThreadStack) -> Void) {
      stacks.reclaim(target: .max)
      takeFrame()
      watch.afterLoad = { [self] in
        watch.afterLoad = nil
        giveFrameBack()
        body(try! stacks.allocate(node: nil))
      }
    }

    /// Whether the entries of a stack lie in the frame.
    func hasTable(of stack: VirtualAddress) -> Bool {
      stacks.arena.existingLeafEntry(at: stack)?.frame == table
    }

    /// Calls `body` when the look-up knows the table's place, and reads there.
    func atFirstLoad(_ body: @escaping () -> Void) {
      watch.beforeLoad = { [watch] in
        watch.beforeLoad = nil
        body()
      }
    }

    /// Calls `body` at the look-up's first call of the machine.
    func atFirst(_ body: @escaping () -> Void) {
      let hook = { [watch] in
        watch.beforeLoad = nil
        watch.beforeOthers = nil
        body()
      }
      watch.beforeLoad = hook
      watch.beforeOthers = hook
    }

    func expectNoHarm() {
      watch.beforeLoad = nil
      watch.beforeOthers = nil
      #expect(isUntouched, "somebody else's memory was written")
      giveFrameBack()
      stacks._checkInvariants()
      #expect(stacks.lostStackCount == 0 && stacks.refusedFreeCount == 0)
      #expect(world.simulation.violations.isEmpty)
    }
  }

  @Test(arguments: LookUp.allCases)
  func `What has just been given back is no table any more on any CPU`(_ lookUp: LookUp) throws {
    let bed = try Bed(lookUp)
    var looks = 0
    bed.watch.beforeOthers = {
      guard bed.isReleased else { return }
      bed.watch.beforeOthers = nil
      looks += 1
      bed.takeFrame()
      let isFound = lookUp.finds(bed.base, bed.stacks)
      #expect(!isFound)
    }
    bed.stacks.reclaim(target: .max)
    #expect(looks == 1 && bed.isReleased)
    bed.expectNoHarm()
  }

  @Test(arguments: LookUp.allCases)
  func `A look-up that has found a table's place does not believe what a later owner has there`(
    _ lookUp: LookUp
  ) throws {
    let bed = try Bed(lookUp)
    var isLate = false
    bed.atFirst {
      isLate = true
      bed.stacks.reclaim(target: .max)
      bed.takeFrame()
    }
    let isFound = lookUp.finds(bed.base, bed.stacks)
    #expect(!isFound)
    #expect(isLate && bed.isReleased)
    bed.expectNoHarm()
  }

  @Test(arguments: LookUp.allCases.filter { !$0.isLocked && $0 != .freeAtHand })
  func `… not even if the frame has become a table of the same slots again`(_ lookUp: LookUp) throws {
    let bed = try Bed(lookUp)
    var (isLate, hasTable) = (false, false)
    bed.atFirst {
      isLate = true
      bed.rebuildTableAtNextLoad { stack in
        hasTable = bed.hasTable(of: stack.base)
        #expect(stack.base == bed.base)
        bed.stacks.free(stack)
      }
    }
    let isFound = lookUp.finds(bed.base, bed.stacks)
    #expect(!isFound)
    #expect(isLate && hasTable, "the table is to be in the same frame")
    bed.stacks.reclaim(target: .max)
    bed.takeFrame()
    bed.expectNoHarm()
  }

  @Test func `A free that knows a table's place does not believe what a later owner has there`() throws {
    let bed = try Bed(.freeAtHand)
    bed.atFirstLoad {
      bed.stacks.reclaim(target: .max)
      bed.takeFrame()
    }
    let isFreed = bed.stacks.freeAtHand(at: bed.base)
    #expect(!isFreed && bed.isReleased)
    bed.expectNoHarm()
  }

  @Test func `… and frees no other thread's stack if the frame has become a table again, and says the same`()
    throws
  {
    let bed = try Bed(.freeAtHand)
    var other: VirtualAddress?
    bed.atFirstLoad {
      bed.rebuildTableAtNextLoad { stack in
        #expect(bed.hasTable(of: stack.base))
        other = stack.detach()
      }
    }
    let isFreed = bed.stacks.freeAtHand(at: bed.base)
    #expect(!isFreed)
    #expect(other == bed.base && bed.stacks.liveStackCount == 1)
    try bed.stacks.free(at: bed.base)
    bed.stacks.reclaim(target: .max)
    bed.takeFrame()
    bed.expectNoHarm()
  }

  @Test(arguments: [
    StackConfiguration(.vmalloc, capacity: 70), StackConfiguration(.growing, size: 64 << 10, capacity: 40),
    StackConfiguration(.vmalloc, phase: 16384, capacity: 70),
  ])
  func `An allocator's addresses are those of its slots, with their guards`(
    _ configuration: StackConfiguration
  ) throws {
    let world = try World()
    let stacks = try world.stacks(configuration)
    let addresses = stacks.slotAddresses
    var owners: [Owner] = []
    while let stack = try? stacks.allocate(node: nil) { owners.append(Owner(stack)) }
    #expect(owners.count == configuration.capacity)
    for owner in owners {
      let guardBytes = stacks.geometry.stride - stacks.geometry.size
      #expect(addresses.contains(owner.base - guardBytes))
      #expect(addresses.contains(owner.base + (stacks.geometry.size - 1)))
    }
    for owner in owners { stacks.free(owner.take()) }
    let linear = try world.stacks(StackConfiguration(.linear))
    #expect(linear.slotAddresses.byteCount == 0)
  }
}
