// Address spaces: pages that fork shares, pages that a store copies, and the return of both.

import KernelStacks
import SimulatedMachine
import SeededRandom
import Testing
import UserPrograms

@testable import KernelProcesses
@testable import Scenarios
@testable import SimulatedScenarios

@Suite struct CopyOnWriteTests {
  private let data: UInt = 0x410000

  @Test func `Fork shares pages, and the first store of either side parts them`() throws {
    try withProcesses { processes, kernel in
      let parent = try processes.createFirst(kernel.image)
      kernel.store(1, at: data, as: parent)
      let child = try processes.fork(parent, in: kernel)
      let sharedFrame = processes.frame(data, of: parent)
      let shared = try #require(sharedFrame)
      #expect(processes.frame(data, of: child) == shared)
      #expect(processes.shareCount(shared).pointee == 2)
      #expect(kernel.load(data, as: child) == 1)

      kernel.store(2, at: data, as: child)
      #expect(kernel.load(data, as: parent) == 1)
      #expect(kernel.load(data, as: child) == 2)
      #expect(processes.frame(data, of: parent) == shared)
      #expect(processes.shareCount(shared).pointee == 1)

      // The parent is the last: its store must not copy.
      let free = processes.frames.freeFrames
      kernel.store(3, at: data, as: parent)
      #expect(processes.frames.freeFrames == free)
      #expect(processes.frame(data, of: parent) == shared)
      #expect(kernel.load(data, as: child) == 2)
    }
  }

  @Test func `The parent's store leaves the child what was there at the fork`() throws {
    try withProcesses { processes, kernel in
      let parent = try processes.createFirst(kernel.image)
      kernel.store(1, at: data + 8, as: parent)
      let child = try processes.fork(parent, in: kernel)
      kernel.store(9, at: data + 8, as: parent)
      #expect(kernel.load(data + 8, as: child) == 1)
    }
  }

  @Test func `The live part of the stack is copied at the fork, the rest is shared`() throws {
    try withProcesses { processes, kernel in
      let parent = try processes.createFirst(kernel.image)
      let top = kernel.image.stackTop.rawValue
      kernel.store(5, at: top - 8, as: parent)
      kernel.store(6, at: top - 8192, as: parent)
      let child = try processes.fork(parent, userStackPointer: VirtualAddress(top - 64))
      #expect(processes.frame(top - 8, of: child) != processes.frame(top - 8, of: parent))
      #expect(processes.frame(top - 8192, of: child) == processes.frame(top - 8192, of: parent))
      #expect(kernel.load(top - 8, as: child) == 5)
      let deeper = try processes.fork(parent, userStackPointer: VirtualAddress(top - 4096 - 16))
      #expect(processes.frame(top - 8192, of: deeper) != processes.frame(top - 8192, of: parent))
      #expect(kernel.load(top - 8192, as: deeper) == 6)
      // The parent writes its stack without a frame being needed, now that there is none.
      processes.frameWatch.pointee.refuse(allocation: 1, andAllAfter: true)
      kernel.store(7, at: top - 8, as: parent)
      processes.frameWatch.pointee.allowAll()
      #expect(kernel.killed.isEmpty)
    }
  }

  @Test func `Code is shared as it is, and a store to it kills`() throws {
    try withProcesses { processes, kernel in
      let parent = try processes.createFirst(kernel.image)
      let child = try processes.fork(parent, in: kernel)
      #expect(processes.frame(0x400000, of: child) == processes.frame(0x400000, of: parent))
      #expect(kernel.load(0x400000, as: child) == 0x5a5a_5a5a_5a5a_5a5a)
      kernel.store(0, at: 0x400000, as: child)
      #expect(kernel.killed[child] == .accessViolation)
      kernel.killed = [:]
      kernel.calls(parent).fetch(VirtualAddress(data))
      #expect(kernel.killed[parent] == .accessViolation, "data is not executable")
      kernel.killed = [:]
    }
  }

  @Test(arguments: [0, 0x3ff000, 0x414000, 0x5fdff8, 0x600000, 1 << 39, 0xffff_ffc0_4000_0000] as [UInt])
  func `An access outside the program is a violation`(_ address: UInt) throws {
    try withProcesses { processes, kernel in
      let first = try processes.createFirst(kernel.image)
      for access in [UserAccess.read, .write, .execute] {
        #expect(
          processes.handleUserFault(first, address: VirtualAddress(address), access: access) == .violation)
      }
      var word: UInt64 = 0
      withUnsafeMutableBytes(of: &word) {
        let wasRead = processes.copyFromUser(first, VirtualAddress(address), to: $0)
        #expect(!wasRead)
      }
    }
  }

  @Test func `A page that cannot be copied stays as it was, and can be copied later`() throws {
    try withProcesses { processes, kernel in
      let parent = try processes.createFirst(kernel.image)
      kernel.store(1, at: data, as: parent)
      let child = try processes.fork(parent, in: kernel)
      processes.reclaim()
      let before = processes.snapshot()
      processes.frameWatch.pointee.refuse(allocation: 1, andAllAfter: true)
      let resolution = processes.handleUserFault(child, address: VirtualAddress(data), access: .write)
      processes.frameWatch.pointee.allowAll()
      guard case .outOfMemory(.refused(let refusal)) = resolution else {
        Issue.record("\(resolution)")
        return
      }
      #expect(refusal.purpose == .userMemory && refusal.order == 0)
      #expect(processes.snapshot().firstDifference(from: before) == nil)
      kernel.store(2, at: data, as: child)
      #expect(kernel.load(data, as: child) == 2)
    }
  }

  @Test func `The kernel's own reads cross pages, and see what the process sees`() throws {
    try withProcesses { processes, kernel in
      let parent = try processes.createFirst(kernel.image)
      let child = try processes.fork(parent, in: kernel)
      let words = (0..<750).map { UInt64($0) &* 0x0123_4567_89ab_cdef &+ 1 }
      let bytes = words.withUnsafeBytes { [UInt8]($0) }
      let address = VirtualAddress(data + 4000)
      for (index, word) in words.enumerated() {
        kernel.store(word, at: data + 4000 + UInt(index) * 8, as: child)
      }
      var read = [UInt8](repeating: 0xff, count: 6000)
      let fromChild = read.withUnsafeMutableBytes { processes.copyFromUser(child, address, to: $0) }
      #expect(fromChild && read == bytes)
      let fromParent = read.withUnsafeMutableBytes { processes.copyFromUser(parent, address, to: $0) }
      #expect(fromParent)
      #expect(read == [UInt8](repeating: 0, count: 6000))
    }
  }

  @Test func `One invalidation makes a fork's sharing safe, and none is needed when nothing was writable`()
    throws
  {
    try withProcesses { processes, kernel in
      let parent = try processes.createFirst(kernel.image)
      _ = kernel.calls(parent)
      // Use every page first, so that any missing invalidation meets a cached translation.
      for page in 0..<4 { kernel.store(1, at: data + UInt(page) * 4096, as: parent) }
      let simulation = kernel.machine.simulation
      let before = simulation.userInvalidations
      let child = try processes.fork(parent, in: kernel)
      #expect(simulation.userInvalidations == before + 1)
      // All pages are read-only by now.
      _ = try processes.fork(parent, in: kernel)
      #expect(simulation.userInvalidations == before + 1)
      for page in 0..<4 { kernel.store(2, at: data + UInt(page) * 4096, as: parent) }
      for page in 0..<4 { #expect(kernel.load(data + UInt(page) * 4096, as: child) == 1) }
    }
  }

  @Test(arguments: 1...8 as ClosedRange<UInt64>)
  func `Random forks, stores and exits agree with a model of plain copies`(_ seed: UInt64) throws {
    var options = ScenarioOptions.small(.isolation, .vmalloc, seed: seed)
    options.memoryBytes = 8 << 20
    try withProcesses(options) { processes, kernel in
      var random = SplitMix64(seed: seed)
      let first = try processes.createFirst(kernel.image)
      // Three words of each of four pages: an incomplete copy shows in the words that the store did not write.
      let addresses = (0..<4).flatMap { page in [0, 2048, 4088].map { data + UInt(page) * 4096 + $0 } }
      var model: [TaskPointer: [UInt64]] = [first: Array(repeating: 0, count: addresses.count)]
      var live = [first]
      for step in 0..<400 {
        let task = live[random.next(below: live.count)]
        let word = random.next(below: addresses.count)
        if step % 16 == 0 { processes.expectConsistency("seed \(seed), step \(step)") }
        switch random.next(below: 10) {
        case 0..<2 where live.count < 24:
          kernel.enter(task)
          let child = try processes.fork(task, in: kernel)
          model[child] = model[task]
          live.append(child)
        case 2 where task != first:
          kernel.machine.activate(root: nil)
          processes.endAndStop(task)
          // Its children are the first's now; so is it, if its parent has gone.
          while case .reaped = processes.reap(childOf: first) {}
          for other in live where other != task { while case .reaped = processes.reap(childOf: other) {} }
          live.removeAll { $0 == task }
          model[task] = nil
        case 3..<6:
          let value = random.next()
          kernel.store(value, at: addresses[word], as: task)
          model[task]![word] = value
        default:
          #expect(kernel.load(addresses[word], as: task) == model[task]![word], "seed \(seed), step \(step)")
        }
      }
      for task in live {
        for (word, address) in addresses.enumerated() {
          #expect(kernel.load(address, as: task) == model[task]![word], "seed \(seed)")
        }
      }
      #expect(kernel.killed.isEmpty, "seed \(seed)")
    }
  }
}
