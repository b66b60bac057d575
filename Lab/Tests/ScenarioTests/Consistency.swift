// The invariants of processes between two calls.

import KernelStacks
import SimulatedMachine
import Testing

@testable import KernelProcesses
@testable import Scenarios
@testable import SimulatedScenarios

extension Processes where Parts == SimulatedParts {
  /// Checks counts of shared frames against the tables, entries against the counts, and families against each other.
  borrowing func expectConsistency(_ comment: Comment? = nil) {
    var mappings: [PageFrame: Int] = [:]
    var writable: Set<PageFrame> = []
    var tasks = 0
    for processID in 1...processLimit {
      guard let task = task(processID) else { continue }
      tasks += 1
      #expect(Int(task.pointee.processID) == processID, comment)
      var children = 0
      var seesLiving = false
      var previous: TaskPointer?
      var next = task.pointee.firstChild
      while let child = next, children <= processLimit {
        #expect(child.pointee.parent == task && child.pointee.previousSibling == previous, comment)
        if child.pointee.state == .zombie {
          #expect(!seesLiving, "dead children come first")
        } else {
          seesLiving = true
        }
        children += 1
        previous = child
        next = child.pointee.nextSibling
      }
      #expect(children == Int(task.pointee.childCount), comment)
      guard task.pointee.addressSpaceRoot != PhysicalAddress(0) else { continue }
      tables(of: task).visitLeaves(in: userAddresses) { leaf in
        mappings[leaf.entry.frame, default: 0] += 1
        if leaf.entry.isWritable {
          writable.insert(leaf.entry.frame)
          #expect(!leaf.entry.isCopyOnWrite, comment)
        }
      }
    }
    #expect(tasks == processCount, comment)
    for frame in writable { #expect(mappings[frame] == 1, "a writable frame is shared") }
    for index in 0..<frameSpan {
      let frame = lowestFrame + index
      let isUserMemory = frameAllocator.owner(of: frame) == .used(.userMemory)
      let count = isUserMemory ? Int(shareCount(frame).pointee) : 0
      let expected = mappings[lowestFrame + index] ?? 0
      if count != expected { Issue.record("frame \(index): \(count) sharers counted, \(expected) are there") }
    }
  }
}
