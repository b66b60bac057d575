// The complete state of the memory side, in a few numbers, to tell whether a failed operation has changed anything.

import KernelProcesses
import KernelStacks

/// A part of the state that a failed fork must leave as it was.
public enum StateAspect: UInt8, Sendable {
  /// Free blocks per order and node.
  case freeBlocks
  /// Frames handed out.
  case framesOutstanding
  /// Kernel-stack KiB per node.
  case kernelStacks
  /// The listing of the vmalloc area.
  case vmallocAreas
  /// How many address spaces map each frame that some do.
  case shareCounts
  /// All entries of the vmalloc area's tables.
  case kernelTables
  /// All entries of all processes' tables, and the bytes of the first process.
  case userTables
  /// The process table and the families.
  case processes

  /// The part in words.
  public var name: StaticString {
    switch self {
    case .freeBlocks: "free blocks"
    case .framesOutstanding: "frames handed out"
    case .kernelStacks: "kernel-stack memory"
    case .vmallocAreas: "vmalloc areas"
    case .shareCounts: "counts of shared frames"
    case .kernelTables: "kernel page tables"
    case .userTables: "user page tables"
    case .processes: "process table"
    }
  }
}

/// A digest of each part of the state.
struct StateSnapshot {
  private var digests = InlineArray<8, UInt64>(repeating: 0)

  subscript(aspect: StateAspect) -> UInt64 {
    get { digests[Int(aspect.rawValue)] }
    set { digests[Int(aspect.rawValue)] = newValue }
  }

  /// The first part in which two snapshots differ.
  func firstDifference(from other: Self) -> StateAspect? {
    firstCase(of: StateAspect.self) { self[$0] != other[$0] }
  }
}

/// FNV-1a over bytes and words.
///
/// Source: Fowler, Noll, Vo, "The FNV non-cryptographic hash algorithm".
struct Digest: TextSink {
  private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

  mutating func write(byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }

  mutating func mix(_ word: UInt64) { value = (value ^ word ^ word >> 32) &* 0x100_0000_01b3 }
  mutating func mix(_ word: Int) { mix(UInt64(bitPattern: Int64(word))) }
}

extension Processes where Parts: ScenarioParts {
  /// Takes digests of everything.
  ///
  /// Nothing else runs meanwhile. Free frames in lists of CPUs are merged first, so that free blocks follow from what is
  /// free.
  borrowing func snapshot() -> StateSnapshot {
    var snapshot = StateSnapshot()
    frameAllocator.drain()

    var blocks = Digest()
    var stackMemory = Digest()
    for node in 0..<frames.nodeCount {
      for order in 0...BuddyAllocator<M>.maximumOrder {
        blocks.mix(frameAllocator.freeBlocks(ofOrder: order, on: NodeID(node)))
      }
      stackMemory.mix(stacks.kernelStackKiB(on: NodeID(node)))
    }
    snapshot[.freeBlocks] = blocks.value
    snapshot[.kernelStacks] = stackMemory.value
    snapshot[.framesOutstanding] = UInt64(bitPattern: Int64(frameWatch.pointee.framesOutstanding))

    var listing = Digest()
    arena.writeListing(to: &listing)
    snapshot[.vmallocAreas] = listing.value

    var kernelTables = Digest()
    if let layout = try? AddressLayout(virtualAddressBits: machine.virtualAddressBits) {
      TranslationTables(kernelOf: machine).visitLeaves(in: layout.vmallocArea) { leaf in
        kernelTables.mix(UInt64(leaf.address.rawValue))
        kernelTables.mix(leaf.entry.rawValue)
      }
    }
    snapshot[.kernelTables] = kernelTables.value

    var userTables = Digest()
    var counts = Digest()
    var table = Digest()
    for processID in 1...processLimit {
      guard let task = task(processID) else { continue }
      table.mix(processID)
      table.mix(Int(task.pointee.state.rawValue))
      table.mix(Int(task.pointee.childCount))
      table.mix(UInt64(task.pointee.physicalAddress.rawValue))
      if let base = task.pointee.stack?.base { table.mix(UInt64(base.rawValue)) }
      guard task.pointee.addressSpaceRoot != PhysicalAddress(0) else { continue }
      tables(of: task).visitLeaves(in: userAddresses) { leaf in
        userTables.mix(UInt64(leaf.address.rawValue))
        userTables.mix(leaf.entry.rawValue)
        counts.mix(UInt64(leaf.entry.frame.number))
        counts.mix(UInt64(shareCount(leaf.entry.frame).pointee))
        guard task == first else { return }
        let words = machine.pointer(to: leaf.entry.frame.physicalAddress).assumingMemoryBound(to: UInt64.self)
        for index in 0..<512 { userTables.mix(words[index]) }
      }
    }
    table.mix(processCount)
    snapshot[.userTables] = userTables.value
    snapshot[.shareCounts] = counts.value
    snapshot[.processes] = table.value
    return snapshot
  }
}
