// What a large machine has beyond what a scenario can use up: scenarios that run until memory ends would not end otherwise.
//
//   |========== kept ==========|####|####|####|####|####|####|####|####|     # held, in blocks of 4 MiB
//
// Nothing is written to a block that is held, so that an emulator need not have the memory behind it. The allocator's own
// records say which they are.

import KernelProcesses
import KernelStacks

/// Memory that is held in the largest blocks while a scenario runs.
struct SurplusMemory {
  /// How many blocks are held.
  private let count: Int

  private static func block<M: PageTableMachine>(of machine: M.Type) -> UsedBlock {
    UsedBlock(order: BuddyAllocator<M>.maximumOrder, purpose: .other)
  }

  /// Holds memory until no more than `frames` are free, evenly on all nodes, or no large block is left.
  init<Parts: ScenarioParts>(beyond frames: Int, of processes: borrowing Processes<Parts>) {
    let nodes = processes.frames.nodeCount
    let size = 1 << BuddyAllocator<Parts.M>.maximumOrder
    var count = 0
    for node in 0..<nodes {
      while processes.frameAllocator.freeFrames(on: NodeID(node)) - size >= frames / nodes {
        let request = FrameRequest(
          order: BuddyAllocator<Parts.M>.maximumOrder, node: NodeID(node), purpose: .other)
        guard (try? processes.frameAllocator.allocate(request)) != nil else { break }
        count += 1
      }
    }
    self.count = count
  }

  /// Gives all of it back.
  func release<Parts: ScenarioParts>(in processes: borrowing Processes<Parts>) {
    guard count > 0 else { return }
    let block = Self.block(of: Parts.M.self)
    let size = UInt(1) << UInt(block.order)
    processes.frameAllocator.forEachRange { lowest, frames in
      var first = (lowest.number + size - 1) & ~(size - 1)
      while first < lowest.number + UInt(frames) {
        if processes.frameAllocator.usedBlock(at: PageFrame(first)) == block {
          returnFrame(PageFrame(first), order: block.order, to: processes.frameAllocator)
        }
        first += size
      }
    }
  }
}

extension Processes where Parts: ScenarioParts {
  /// How many frames processes can use up for certain before their numbers end.
  func exhaustibleFrames(_ options: ScenarioOptions) -> Int {
    // Besides its stack, a process has three tables and a page of its own.
    processLimit * ((options.strategy == .growing ? 1 : options.stackSize / pageSize) + 4)
  }
}
