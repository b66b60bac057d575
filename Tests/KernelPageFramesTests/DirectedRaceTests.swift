// Races at a chosen moment: one frame freed by two threads at once, and frames that move while one is sought.

import Foundation
import KernelMachine
@testable import KernelPageFrames
import Synchronization
import Testing

@Suite struct DirectedRaceTests {
  @Test func `Of two threads that give back the same frame at the same moment, one succeeds`() throws {
    let rounds = 30_000
    let frameCount = 32
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 1024)
    let byteCount = BuddyAllocator<HostMachine>.metadataByteCount(for: map, cpuCount: 2)
    let metadata = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 64)
    defer { metadata.deallocate() }
    let frames = HostFrames(
      try BuddyAllocator(frames: map, metadata: metadata, machine: HostMachine(), cpuCount: 2))
    let meeting = Meeting(of: frameCount)
    // Both free the same frames, one from the first on and the other from the last: where they pass each other, they free
    // one frame at the same time.
    onThreads(2) { number in
      for round in 0..<rounds where meeting.firstWrongRound < 0 {
        if number == 0 {
          for index in 0..<frameCount {
            let frame = try? frames.allocator.allocate(FrameRequest(purpose: .vmalloc))
            meeting.frames[index] = frame?.number ?? 0
          }
        }
        meeting.wait()
        for index in 0..<frameCount {
          let frame = PageFrame(meeting.frames[number == 0 ? index : frameCount - 1 - index])
          do {
            try frames.allocator.free(frame, order: 0)
            meeting.successes.add(1, ordering: .relaxed)
          } catch {}
        }
        meeting.wait()
        if number == 0 { meeting.check(round) }
        meeting.wait()
      }
    }
    #expect(meeting.firstWrongRound < 0, "a frame was not freed once")
    HostMachine.sit(on: 0)
    #expect(frames.allocator.freeFrames == 1024)
    frames.allocator._checkInvariants()
  }

  private let request = FrameRequest(purpose: .vmalloc)

  /// Two CPUs and 48 frames: CPU 1 has what is left of a batch in its list, 15 frames, and all the rest is in use.
  private func bedWithRest() throws -> Bed {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 48)
    let bed = try Bed(map, cpuCount: 2)
    bed.world.cpu = 1
    _ = try bed.allocator.allocate(request)
    bed.world.cpu = 0
    for _ in 0..<32 { _ = try bed.allocator.allocate(request) }
    #expect(bed.allocator.freeFrames == 15)
    return bed
  }

  @Test
  func `A frame that moves into a list while lists are drained is found before a request is refused`() throws {
    let bed = try bedWithRest()

    // As soon as CPU 0 has emptied CPU 1's list, CPU 1 fills it up again with all that there is.
    var moved = 0
    bed.world.afterUnlock = {
      let isMerged = (1...4).contains { bed.allocator.freeBlocks(ofOrder: $0) > 0 }
      guard isMerged else { return }
      bed.world.afterUnlock = nil
      bed.world.cpu = 1
      if (try? bed.allocator.allocate(request)) != nil { moved += 1 }
      bed.world.cpu = 0
    }
    #expect(throws: Never.self) { _ = try bed.allocator.allocate(request) }
    #expect(moved == 1)
    #expect(bed.allocator.freeFrames == 13)
    bed.allocator._checkInvariants()
  }

  @Test func `A block that another CPU has merged meanwhile is found before a request is refused`() throws {
    let bed = try bedWithRest()
    #expect(bed.allocator.freeBlocks(ofOrder: 3) == 0)

    // As soon as CPU 0 has found no block, CPU 1 merges its own list: CPU 0 will find nothing to merge.
    bed.world.afterUnlock = {
      bed.world.afterUnlock = nil
      bed.allocator.drain()
    }
    #expect(throws: Never.self) {
      _ = try bed.allocator.allocate(FrameRequest(order: 3, purpose: .vmalloc))
    }
    #expect(bed.allocator.freeFrames == 7)
    bed.allocator._checkInvariants()
  }

  @Test func `No frame is refused because another CPU is just moving all that there are`() throws {
    let bed = try bedWithRest()

    // CPU 0 has found no block and pauses clearing. Then, under the lock, CPU 1 takes its list away and has not released the
    // frames yet: they are in no list, and in no count. They are released when CPU 0 gets the lock.
    let lists = FreeLists(records: bed.allocator.records, node: bed.allocator.nodes)
    bed.world.afterUnlock = {
      guard lists.node.pointee.pauses == 1 else { return }
      bed.world.afterUnlock = nil
      let taken = bed.allocator.cpuLists[1].ready.takeAll()
      #expect(taken.count == 15 && bed.allocator.freeFrames == 0)
      bed.world.beforeLock = {
        bed.world.beforeLock = nil
        lists.release(taken.first, count: taken.count)
      }
    }
    #expect(throws: Never.self) { _ = try bed.allocator.allocate(request) }
    #expect((bed.world.beforeLock == nil) && bed.allocator.freeFrames == 14)
    bed.allocator._checkInvariants()
  }
}

/// A point where two threads wait for each other, and a record of what they did.
private final class Meeting: @unchecked Sendable {
  /// What thread 0 has allocated, and both free.
  let frames: UnsafeMutableBufferPointer<UInt>
  let successes = Atomic<Int>(0)
  private let arrivals = Atomic<Int>(0)
  private let sleepers = Atomic<Int>(0)
  private let both = NSCondition()
  private let wrong = Atomic<Int>(-1)

  init(of frameCount: Int) { frames = .allocate(capacity: frameCount) }
  deinit { frames.deallocate() }

  var firstWrongRound: Int { wrong.load(ordering: .relaxed) }

  /// Waits until both threads have come as often as this one.
  ///
  /// The first to come spins, so that both go on at once; but not for long, in case it keeps the other from a processor.
  func wait() {
    let mine = arrivals.add(1, ordering: .sequentiallyConsistent).newValue
    let last = (mine + 1) & ~1
    for _ in 0..<10_000 where arrivals.load(ordering: .sequentiallyConsistent) < last {}
    if mine == last {
      guard sleepers.load(ordering: .sequentiallyConsistent) > 0 else { return }
      both.lock()
      both.broadcast()
      both.unlock()
    } else if arrivals.load(ordering: .sequentiallyConsistent) < last {
      both.lock()
      sleepers.add(1, ordering: .sequentiallyConsistent)
      while arrivals.load(ordering: .sequentiallyConsistent) < last { both.wait() }
      sleepers.subtract(1, ordering: .sequentiallyConsistent)
      both.unlock()
    }
  }

  func check(_ round: Int) {
    if successes.exchange(0, ordering: .relaxed) != frames.count { wrong.store(round, ordering: .relaxed) }
  }
}
