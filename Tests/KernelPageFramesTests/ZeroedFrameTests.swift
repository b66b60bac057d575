// Frames that idle CPUs clear, and several frames at once.

import KernelMachine
import KernelPageFrames
import Testing

@Suite struct ZeroedFrameTests {
  func cleared(_ bed: Bed) -> Set<PageFrame> {
    Set(bed.world.clearings.map { bed.allocator.machine.frame(ofLinear: $0.address) })
  }

  @Test func `A request for a cleared frame takes one that was cleared before, and clears nothing`() throws {
    let bed = try Bed(frames: 4096, cpuCount: 1)
    #expect(bed.allocator.zeroedFrameLimit(on: NodeID(0)) == 64)
    #expect(bed.allocator.fillZeroedPool(budget: 40) == 40)
    #expect(bed.allocator.zeroedFrames(on: NodeID(0)) == 40 && bed.allocator.freeFrames == 4096)
    let zeroed = cleared(bed)
    #expect(zeroed.count == 40)
    var taken: Set<PageFrame> = []
    for _ in 0..<40 {
      taken.insert(try bed.allocator.allocate(FrameRequest(purpose: .threadStack, cleared: true)))
    }
    #expect(taken == zeroed && bed.world.clearings.count == 40)
    let next = try bed.allocator.allocate(FrameRequest(purpose: .threadStack, cleared: true))
    #expect(bed.world.clearings.count == 41 && cleared(bed).contains(next))
    bed.allocator._checkInvariants()
  }

  @Test func `Zeroed frames are taken without a lock, but for one for each 32`() throws {
    let bed = try Bed(frames: 4096, cpuCount: 1)
    bed.allocator.fillZeroedPool(budget: 64)
    let before = bed.world.locksTaken
    for _ in 0..<64 { _ = try bed.allocator.allocate(FrameRequest(purpose: .threadStack, cleared: true)) }
    #expect(bed.world.locksTaken - before == 2)
  }

  @Test
  func `Several frames at once: all or none, zeroed ones first on request, no lock if a list has enough`()
    throws
  {
    let bed = try Bed(frames: 4096, cpuCount: 1)
    bed.allocator.fillZeroedPool(budget: 8)
    let zeroed = cleared(bed)
    var taken: [PageFrame] = []
    func take(_ count: Int, cleared: Bool) -> FrameContents? {
      let state = bed.allocator.machine.disableInterrupts()
      let before = bed.world.clearings.count
      let request = FrameRequest(purpose: .threadStack, cleared: cleared)
      let contents = bed.allocator.allocateTogether(request, count: count) { taken.append($0) }
      #expect(bed.world.clearings.count == before)
      bed.allocator.machine.restoreInterrupts(state)
      return contents
    }
    #expect(take(5, cleared: true) == .zeroed && zeroed.isSuperset(of: taken))
    // Three zeroed ones are left: no mixture.
    #expect(take(4, cleared: true) == .unknown && zeroed.isDisjoint(with: taken.dropFirst(5)))
    let before = bed.world.locksTaken
    #expect(take(3, cleared: true) == .zeroed && take(10, cleared: false) == .unknown)
    #expect(bed.world.locksTaken == before)
    #expect(zeroed.isSuperset(of: taken[9..<12]) && zeroed.isDisjoint(with: taken[12...]))
    #expect(take(1, cleared: true) == .unknown && take(16, cleared: false) == .unknown)
    #expect(taken.count == 39 && take(17, cleared: false) == nil && take(40, cleared: true) == nil)
    #expect(taken.count == 39 && Set(taken).count == 39 && bed.allocator.freeFrames == 4096 - 39)
    for frame in taken { try bed.allocator.free(frame, order: 0) }
    bed.allocator._checkInvariants()
  }

  @Test func `A request for any frame leaves the zeroed ones, as long as there are others`() throws {
    let bed = try Bed(frames: 4096, cpuCount: 1)
    bed.allocator.fillZeroedPool(budget: 64)
    let zeroed = cleared(bed)
    for _ in 0..<4096 - 64 { #expect(try !zeroed.contains(bed.take(0))) }
    for _ in 0..<64 { #expect(try zeroed.contains(bed.take(0))) }
    #expect(bed.allocator.freeFrames == 0)
    bed.allocator._checkInvariants()
  }

  @Test func `The pool has a bound, and is not filled when memory is short`() throws {
    let bed = try Bed(frames: 4096, cpuCount: 1)
    #expect(bed.allocator.fillZeroedPool(budget: .max) == 64)
    #expect(bed.allocator.zeroOneFrame() == false)
    #expect(bed.allocator.drain() == 64)
    let held = try (0..<4096 - 64 - 10).map { _ in try bed.take(0) }
    #expect(bed.allocator.fillZeroedPool(budget: .max) <= 10)
    #expect(bed.allocator.freeFrames == 74)
    for frame in held { try bed.allocator.free(frame, order: 0) }
    bed.allocator.drain()
    #expect(bed.blocks() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4])
    bed.allocator._checkInvariants()
  }

  @Test func `The pool keeps its bound however many CPUs clear at once`() throws {
    let bed = try Bed(frames: 4096, cpuCount: 2)
    #expect(bed.allocator.fillZeroedPool(budget: 62) == 62)
    // While CPU 0 clears, CPU 1 goes on as long as there is something to clear.
    var others = 0
    bed.world.afterUnlock = {
      bed.world.afterUnlock = nil
      bed.world.cpu = 1
      others = bed.allocator.fillZeroedPool(budget: .max)
      bed.world.cpu = 0
    }
    let hasCleared = bed.allocator.zeroOneFrame()
    #expect(hasCleared)
    #expect(others == 1 && bed.allocator.zeroedFrames(on: NodeID(0)) == 64)
    bed.allocator._checkInvariants()
  }

  @Test func `Of a CPU that has stopped, zeroed frames come back too`() throws {
    let bed = try Bed(frames: 4096, cpuCount: 2)
    #expect(bed.allocator.fillZeroedPool(budget: 40) == 40)
    bed.world.cpu = 1
    let frame = try bed.allocator.allocate(FrameRequest(purpose: .threadStack, cleared: true))
    try bed.allocator.free(frame, order: 0)
    bed.world.cpu = 0
    // One batch of zeroed ones, less the one that was used and lies among the others.
    let zeroed = bed.allocator.zeroedFrames(on: NodeID(0))
    #expect(zeroed == 39)
    #expect(bed.allocator.drain(cpu: 1) == 32)
    #expect(bed.allocator.zeroedFrames(on: NodeID(0)) == 8 && bed.allocator.freeFrames == 4096)
    #expect(bed.allocator.drain(cpu: 1) == 0)
    bed.allocator._checkInvariants()
  }

  @Test func `However far a frame is on its way to the pool, it counts as free`() throws {
    let bed = try Bed(frames: 4096, cpuCount: 1)
    var seen: Set<Int> = []
    bed.world.afterUnlock = { seen.insert(bed.allocator.freeFrames) }
    #expect(bed.allocator.fillZeroedPool(budget: .max) == 64)
    #expect(seen == [4096] && bed.allocator.freeFrames == 4096)
    #expect(bed.allocator.owner(of: PageFrame(0x40000)) == .free)
    bed.world.afterUnlock = nil
    bed.allocator._checkInvariants()
  }

  @Test
  func `The smallest block is taken to be cleared, and no larger one is broken up while there is a smaller`()
    throws
  {
    let bed = try Bed(frames: 4096, cpuCount: 1)
    let held = try (0..<4).map { _ in try bed.take(10) }
    // One block of each of three sizes besides a large one.
    try bed.allocator.free(held[0], order: 10)
    let small = try (0..<3).map { try bed.take($0) }
    try bed.allocator.free(held[1], order: 10)
    let before = bed.allocator.freeBlocks(ofOrder: 10)
    #expect(before == 1)
    #expect(bed.allocator.fillZeroedPool(budget: 40) == 40)
    #expect(bed.allocator.freeBlocks(ofOrder: 10) == before)
    for (order, frame) in small.enumerated() { try bed.allocator.free(frame, order: order) }
    bed.allocator.drain()
    #expect(bed.allocator.freeBlocks(ofOrder: 10) == 2)
    bed.allocator._checkInvariants()
  }

  @Test func `While clearing is paused no CPU clears; pauses may lie in each other`() throws {
    let bed = try Bed(frames: 4096, cpuCount: 1)
    bed.allocator.pauseClearing()
    bed.allocator.pauseClearing()
    #expect(bed.allocator.zeroOneFrame() == false)
    bed.allocator.resumeClearing()
    #expect(bed.allocator.zeroOneFrame() == false && bed.world.clearings.isEmpty)
    bed.allocator.resumeClearing()
    #expect(bed.allocator.zeroOneFrame() == true)
  }

  @Test func `A frame that had to be cleared when it was asked for is counted, and no other`() throws {
    let bed = try Bed(frames: 4096, cpuCount: 1)
    bed.allocator.fillZeroedPool(budget: 2)
    for _ in 0..<5 { _ = try bed.allocator.allocate(FrameRequest(purpose: .pageTable, cleared: true)) }
    #expect(bed.allocator.framesClearedOnRequest == 3)
    _ = try bed.allocator.allocate(FrameRequest(order: 2, purpose: .metadata, cleared: true))
    #expect(bed.allocator.framesClearedOnRequest == 7)
  }

  @Test func `Without lists there is no pool`() throws {
    let bed = try Bed(frames: 4096)
    #expect(bed.allocator.zeroedFrameLimit(on: NodeID(0)) == 0 && bed.allocator.zeroOneFrame() == false)
    #expect(bed.allocator.zeroedFrames(on: NodeID(3)) == 0 && bed.world.locksTaken == 0)
  }

  @Test func `A block merges the pool before it is refused`() throws {
    let bed = try Bed(frames: 4096, cpuCount: 1)
    bed.allocator.fillZeroedPool(budget: .max)
    for _ in 0..<4 { _ = try bed.take(10) }
    #expect(bed.allocator.freeFrames == 0)
  }

  // MARK: Several at once

  @Test(arguments: [false, true])
  func `Several frames are distinct, and take no lock when the list has them`(cleared: Bool) throws {
    let bed = try Bed(frames: 4096, cpuCount: 1)
    if cleared { bed.allocator.fillZeroedPool(budget: 64) }
    let request = FrameRequest(purpose: .threadStack, cleared: cleared)
    var frames: [PageFrame] = []
    try bed.allocator.allocate(request, count: 4) { frames.append($0) }
    let before = bed.world.locksTaken
    let clearings = bed.world.clearings.count
    for _ in 0..<3 { try bed.allocator.allocate(request, count: 4) { frames.append($0) } }
    #expect(bed.world.locksTaken == before && bed.world.clearings.count == clearings)
    #expect(Set(frames).count == 16)
    #expect(frames.allSatisfy { bed.allocator.owner(of: $0) == .used(.threadStack) })
    #expect(bed.allocator.freeFrames == 4096 - 16)
    for frame in frames { try bed.allocator.free(frame, order: 0) }
    bed.allocator._checkInvariants()
  }

  @Test func `Where nothing was cleared before, each of several is cleared`() throws {
    for cpuCount in 0...1 {
      let bed = try Bed(frames: 256, cpuCount: cpuCount)
      var frames: Set<PageFrame> = []
      for count in [4, 20, 0, -3] {
        try bed.allocator.allocate(FrameRequest(purpose: .threadStack, cleared: true), count: count) {
          frames.insert($0)
        }
      }
      #expect(frames.count == 24 && cleared(bed) == frames && bed.world.clearings.count == 24)
      bed.allocator._checkInvariants()
    }
  }

  @Test(arguments: [0, 1, 2])
  func `When there are fewer, the caller has got those, and the refusal says what was left`(cpuCount: Int)
    throws
  {
    let bed = try Bed(frames: 64, cpuCount: cpuCount)
    let held = try (0..<62).map { _ in try bed.take(0) }
    bed.world.cpu = 1
    var frames: [PageFrame] = []
    let refusal = FrameRefusal(order: 0, purpose: .vmalloc, freeFrames: 0, largestFreeOrder: -1)
    #expect(throws: FrameSourceError.refused(refusal)) {
      try bed.allocator.allocate(FrameRequest(purpose: .vmalloc), count: 4) { frames.append($0) }
    }
    #expect(frames.count == 2 && Set(frames + held).count == 64)
    bed.allocator._checkInvariants()
  }

  @Test func `Only single frames come in numbers; a node that does not exist is told`() throws {
    let bed = try Bed(frames: 64, cpuCount: 1)
    let before = bed.picture()
    #expect(throws: FrameSourceError.invalidOrder(1)) {
      try bed.allocator.allocate(FrameRequest(order: 1, purpose: .vmalloc), count: 2) { _ in }
    }
    #expect(throws: FrameSourceError.unknownNode(NodeID(4))) {
      try bed.allocator.allocate(FrameRequest(node: NodeID(4), purpose: .vmalloc), count: 2) { _ in }
    }
    #expect(bed.picture() == before)
  }
}
