// What must hold of all processes between two calls: counts of shared frames and address spaces agree, and so do families.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine

extension SmallKernel {
  /// Addresses that a process may have pages at.
  static var userAddresses: VirtualAddressRange {
    VirtualAddressRange(VirtualAddress(4096), VirtualAddress(1 << 39))
  }

  /// Looks through address spaces and lists of children.
  ///
  /// - Parameter tasks: all processes that there are. What else is user memory is found when they are gone.
  func expectConsistency(of tasks: [TaskPointer]) throws(Finding) {
    try require(tasks.count == processes.pointee.processCount, "all processes are known, and counted")
    var mappings: [PageFrame: Int] = [:]
    var writable: [PageFrame] = []
    for task in tasks {
      try expectFamily(task)
      guard task.pointee.addressSpaceRoot != PhysicalAddress(0) else { continue }
      let tables = TranslationTables(root: task.pointee.addressSpaceRoot, machine: machine)
      try tables.visitLeaves(in: Self.userAddresses) { (leaf) throws(Finding) in
        try require(leaf.entry.isUserAccessible && !leaf.entry.isKernelExecutable, "user memory is the user's")
        try require(!(leaf.entry.isWritable && leaf.entry.isUserExecutable), "no page is written and executed")
        mappings[leaf.entry.frame, default: 0] += 1
        if leaf.entry.isWritable { writable.append(leaf.entry.frame) }
      }
    }
    for frame in writable { try require(mappings[frame] == 1, "a frame that can be written is one process's") }
    for (frame, count) in mappings {
      try require(
        processes.pointee.frameAllocator.owner(of: frame) == .used(.userMemory),
        "what is mapped is user memory")
      let counted = processes.pointee.frameAllocator.ownerWord(of: frame)!.pointee
      try require(Int(counted) == count, "as many processes share a frame as are counted")
    }
  }

  private func expectFamily(_ task: TaskPointer) throws(Finding) {
    var count = 0
    var seesLiving = false
    var previous: TaskPointer?
    var next = task.pointee.firstChild
    while let child = next, count <= processes.pointee.processCount {
      try require(
        child.pointee.parent == task && child.pointee.previousSibling == previous, "children know their parents"
      )
      if child.pointee.state != .zombie { seesLiving = true }
      try require(child.pointee.state != .zombie || !seesLiving, "dead children come first")
      count += 1
      previous = child
      next = child.pointee.nextSibling
    }
    try require(count == Int(task.pointee.childCount), "children are counted")
  }
}
