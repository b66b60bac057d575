// The process table: families, numbers, records, and the state after a refused fork.

import KernelStacks
import SeededRandom
import SimulatedMachine
import SystemCallInterface
import Testing
import UserPrograms

@testable import KernelProcesses
@testable import Scenarios
@testable import SimulatedScenarios

@Suite struct ProcessTests {
  @Test func `Records leave room for the pool's word and begin with the machine's area`() {
    func expectRoom<Record: PooledRecord & ~Copyable>(for type: Record.Type) {
      #expect(MemoryLayout<Record>.size <= Record.stride && Record.stride % 16 == 0)
      #expect(MemoryLayout<Record>.alignment <= 16)
      let end = (Record.countPerFrame - 1) * Record.stride + MemoryLayout<Record>.size
      #expect(end <= RecordPool<Record>.slabOffset && Record.countPerFrame <= 16)
    }
    expectRoom(for: TaskRecord.self)
    expectRoom(for: KernelThread.self)
    #expect(RecordPool<TaskRecord>.slabOffset + MemoryLayout<RecordSlab>.size <= pageSize)
    var record = TaskRecord()
    record.context[0] = 0x1234
    withUnsafeBytes(of: &record) { #expect($0.load(as: UInt64.self) == 0x1234) }
  }

  @Test func `The child gets the parent's context and a number of its own`() throws {
    try withProcesses { processes, kernel in
      let parent = try processes.createFirst(kernel.image)
      parent.pointee.context[39] = 99
      let child = try processes.fork(parent, in: kernel)
      #expect(child.pointee.context[39] == 99)
      #expect(child.pointee.state == .created)
      #expect(child.pointee.processID != parent.pointee.processID)
      #expect(child.pointee.parent == parent)
      #expect(processes.task(Int(child.pointee.processID)) == child)
      #expect(processes.task(0) == nil && processes.task(processes.processLimit + 1) == nil)
    }
  }

  @Test func `A parent reaps dead children first and learns each one's end`() throws {
    try withProcesses { processes, kernel in
      let parent = try processes.createFirst(kernel.image)
      guard case .noChildren = processes.reap(childOf: parent) else {
        Issue.record("there is no child")
        return
      }
      let children = try (0..<5).map { _ in try processes.fork(parent, in: kernel) }
      guard case .noneEnded = processes.reap(childOf: parent) else {
        Issue.record("no child has ended")
        return
      }
      let second = Int(children[1].pointee.processID)
      processes.exit(children[1], status: 77, end: .exited)
      #expect(processes.childState(second, of: parent) == .running, "it still runs on its kernel stack")
      processes.hasStopped(children[1])
      #expect(processes.childState(second, of: parent) == .dead)
      let late = try processes.fork(parent, in: kernel)
      guard case .reaped(let ended) = processes.reap(childOf: parent) else {
        Issue.record("a child has ended")
        return
      }
      #expect(ended.processID == second && ended.status == 77 && ended.end == .exited)
      #expect(processes.childState(second, of: parent) == .none)
      #expect(processes.task(second) == nil)
      #expect(parent.pointee.childCount == 5)
      #expect(late.pointee.parent == parent)
    }
  }

  @Test func `The first process inherits the children of those that end, dead ones too`() throws {
    try withProcesses { processes, kernel in
      let first = try processes.createFirst(kernel.image)
      let middle = try processes.fork(first, in: kernel)
      let living = try processes.fork(middle, in: kernel)
      let dead = try processes.fork(middle, in: kernel)
      processes.endAndStop(dead, status: 5)
      processes.endAndStop(middle)
      #expect(living.pointee.parent == first && dead.pointee.parent == first)
      #expect(first.pointee.childCount == 3)
      var ends: [Int] = []
      while case .reaped(let ended) = processes.reap(childOf: first) { ends.append(ended.status) }
      #expect(ends.sorted() == [0, 5])
      #expect(first.pointee.childCount == 1)
    }
  }

  @Test func `Holding children go on only when released, one or all`() throws {
    try withProcesses { processes, kernel in
      let parent = try processes.createFirst(kernel.image)
      let children = try (0..<4).map { _ in try processes.fork(parent, in: kernel) }
      for child in children.dropLast() { processes.hold(child) }
      let one = Int(children[1].pointee.processID)
      #expect(processes.childState(one, of: parent) == .holding)
      var resumed: [TaskPointer] = []
      #expect(processes.release(one, of: parent) { resumed.append($0) } == 1)
      #expect(resumed == [children[1]])
      #expect(processes.childState(one, of: parent) == .running)
      #expect(processes.release(0, of: parent) { resumed.append($0) } == 2)
      #expect(processes.release(0, of: parent) { _ in } == 0)
      #expect(processes.release(one, of: children[0]) { _ in } == 0, "not that process's child")
    }
  }

  @Test func `Frames per fork are those that one fork and its child's first stores took`() throws {
    try withProcesses { processes, kernel in
      let parent = try processes.createFirst(kernel.image)
      processes.resetFigures()
      let free = processes.frames.freeFrames
      let child = try processes.fork(parent, in: kernel)
      kernel.store(1, at: 0x410000, as: child)
      processes.hold(child)
      #expect(processes.figures.largestFramesPerFork == free - processes.frames.freeFrames)
      #expect(processes.figures.largestFramesPerFork >= 9)
      #expect(processes.figures.attempted == 1 && processes.figures.succeeded == 1)
    }
  }

  @Test func `Counts are reset under the lock that they are under`() throws {
    try withProcesses { processes, _ in
      let locks = processes.machine.counters.lockAcquisitions
      processes.resetFigures()
      #expect(processes.machine.counters.lockAcquisitions == locks + 1)
      processes.resetThreadFigures()
      #expect(processes.machine.counters.lockAcquisitions == locks + 2)
    }
  }

  @Test(arguments: 1...4 as ClosedRange<UInt64>)
  func `The record pool never keeps a frame without a record`(_ seed: UInt64) throws {
    try withProcesses { processes, _ in
      var random = SplitMix64(seed: seed)
      var pool = RecordPool<TaskRecord>()
      var live: [TaskPointer] = []
      let free = processes.frames.freeFrames
      for step in 0..<600 {
        if live.count < 60, random.next(below: 60) >= live.count {
          let record = try pool.allocate(machine: processes.machine, frames: processes.frames)
          #expect(!live.contains(record), "seed \(seed), step \(step)")
          live.append(record)
        } else {
          pool.free(
            live.remove(at: random.next(below: live.count)), machine: processes.machine,
            frames: processes.frames)
        }
        let frames = Set(live.map { $0.pointee.physicalAddress.frame })
        #expect(free - processes.frames.freeFrames == frames.count, "seed \(seed), step \(step)")
      }
      for record in live { pool.free(record, machine: processes.machine, frames: processes.frames) }
      #expect(pool.firstWithRoom == 0)
    }
  }

  @Test func `A fork that fails once is tried again after caches were given back`() throws {
    try withProcesses { processes, kernel in
      let parent = try processes.createFirst(kernel.image)
      let old = try processes.fork(parent, in: kernel)
      processes.endAndStop(old)
      _ = processes.reap(childOf: parent)
      #expect(processes.stacks.cachedStackCount == 1)
      // The stack comes from the cache; the root table is refused, once.
      processes.frameWatch.pointee.refuse(allocation: 1)
      let child = try processes.fork(parent, in: kernel)
      #expect(child.pointee.parent == parent)
      #expect(processes.frameWatch.pointee.injectedRefusals == 1)
      #expect(processes.figures.firstFailure == nil)
    }
  }

  @Test func `A bad image is refused and leaves nothing behind`() throws {
    try withProcesses { processes, kernel in
      let bad: [(UInt, Int)] = [
        (0x400000, 4096), (0x410800, 4096), (0, 4096), (1 << 39, 4096), ((1 << 39) - 4096, 8192), (0x420000, 0),
      ]
      for (address, byteCount) in bad {
        var image = kernel.image
        let segment = ProgramSegment(
          address: VirtualAddress(address), contents: UnsafeRawBufferPointer(start: nil, count: 0),
          byteCount: byteCount, permissions: .userReadWrite)
        let fits = image.add(segment)
        #expect(fits)
        #expect(throws: ForkError.badImage(VirtualAddress(address))) { try processes.createFirst(image) }
        #expect(processes.processCount == 0)
      }
    }
  }

  @Test func `A system call that leaves its kernel stack kills only its process`() throws {
    try withProcesses { processes, kernel in
      let first = try processes.createFirst(kernel.image)
      kernel.run(first, ProgramArguments(.overflowStack))
      #expect(first.pointee.exitStatus == 0)
      #expect(first.pointee.end == .exited)
    }
  }

  @Test func `Two processes that compute side by side don't disturb each other`() throws {
    try withProcesses { processes, kernel in
      let first = try processes.createFirst(kernel.image)
      kernel.run(first, ProgramArguments(.spin, operations: 50))
      #expect(first.pointee.exitStatus == 0)
    }
  }
}
