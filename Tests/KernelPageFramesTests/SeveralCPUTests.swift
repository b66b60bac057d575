// Several CPUs at once: interleaved by seed on the simulated machine, and at full speed on the host's own threads.
//
// The model is a table of owners: a frame that is handed out must have none, and only its owner frees a frame. The new
// owner of a cleared frame reads it; an owner that frees a frame leaves rubbish in it.

import Foundation
import KernelMachine
import KernelPageFrames
import SeededRandom
import SimulatedMachine
import TestSupport
import Testing

@Suite struct SeveralCPUTests {
  /// The allocator on a simulated machine, and the owner of each frame.
  final class World {
    let simulation: Simulation
    let metadata: UnsafeMutableRawBufferPointer
    let frames: BuddyAllocator<Simulated>
    var owners: [PageFrame: Int] = [:]
    /// Frames that one CPU leaves for any CPU to free.
    var parcels: [(PageFrame, Int)] = []
    var problems: [String] = []

    init(frames count: Int, cpus: Int, nodes: Int, seed: UInt64) throws {
      var map = PhysicalMemoryMap()
      var banks: [MemoryBank] = []
      for node in 0..<nodes {
        let start = PhysicalAddress(0x4000_0000) + node * count * pageSize
        banks.append(MemoryBank(start: start, byteCount: count * pageSize, node: NodeID(node)))
        try map.addMemory(start: start, byteCount: count * pageSize, node: NodeID(node))
      }
      simulation = try Simulation(SimulationConfiguration(memory: banks, cpuCount: cpus, seed: seed))
      metadata = .allocate(
        byteCount: BuddyAllocator<Simulated>.metadataByteCount(for: map, cpuCount: cpus), alignment: 64)
      frames = try BuddyAllocator(
        frames: map, metadata: metadata, machine: simulation.machine, cpuCount: cpus)
    }

    deinit { metadata.deallocate() }

    func got(_ frame: PageFrame, order: Int, by cpu: Int, cleared: Bool) {
      for index in 0..<1 << order {
        if let owner = owners.updateValue(cpu, forKey: frame + index) {
          problems.append("frame \(frame + index) was handed to CPU \(cpu), and is CPU \(owner)'s")
        }
        let words = simulation.machine.pointer(to: (frame + index).physicalAddress)
          .assumingMemoryBound(to: UInt64.self)
        if cleared, words[0] != 0 || words[511] != 0 { problems.append("frame \(frame + index) is not zero") }
        words[0] = 0xbad
        words[511] = 0xbad
      }
    }

    func give(_ frame: PageFrame, order: Int) throws {
      for index in 0..<1 << order where owners.removeValue(forKey: frame + index) == nil {
        problems.append("frame \(frame + index) had no owner")
      }
      try frames.free(frame, order: order)
    }

    func picture() -> [Int] {
      (0...10).flatMap { order in
        (0..<frames.nodeCount).map { frames.freeBlocks(ofOrder: order, on: NodeID($0)) }
      }
    }
  }

  /// The random operations of one CPU.
  private func work(_ world: World, _ cpu: Simulated, number: Int, seed: UInt64, steps: Int) throws {
    var random = SplitMix64(seed: seed &* 64 &+ UInt64(number))
    var mine: [(PageFrame, Int)] = []
    for _ in 0..<steps {
      switch random.next(below: 16) {
      case 0..<6:
        let cleared = random.next(below: 2) == 0
        let order = random.next(below: 6) == 0 ? 1 + random.next(below: 4) : 0
        let node = random.next(below: 4) == 0 ? NodeID(random.next(below: world.frames.nodeCount)) : nil
        let request = FrameRequest(order: order, node: node, purpose: .vmalloc, cleared: cleared)
        if let frame = try? world.frames.allocate(request) {
          world.got(frame, order: order, by: number, cleared: cleared)
          mine.append((frame, order))
        }
      case 6..<8:
        let request = FrameRequest(purpose: .threadStack, cleared: random.next(below: 2) == 0)
        try? world.frames.allocate(request, count: 1 + random.next(below: 6)) { frame in
          world.got(frame, order: 0, by: number, cleared: request.cleared)
          mine.append((frame, 0))
        }
      case 8..<12 where !mine.isEmpty:
        let (frame, order) = mine.remove(at: random.next(below: mine.count))
        try world.give(frame, order: order)
      case 12 where !mine.isEmpty:
        world.parcels.append(mine.removeLast())
      case 13:
        if let (frame, order) = world.parcels.popLast() { try world.give(frame, order: order) }
      case 14:
        world.frames.fillZeroedPool(budget: 3)
      case 15 where random.next(below: 8) == 0:
        if random.next(below: 2) == 0 {
          world.frames.drain()
        } else {
          world.frames.drain(cpu: random.next(below: cpu.cpuCount))
        }
      default: break
      }
    }
    for (frame, order) in mine { try world.give(frame, order: order) }
  }

  @Test(arguments: 1...30 as ClosedRange<UInt64>)
  func `No frame is handed out twice, cleared ones are zero, and all come back`(seed: UInt64) throws {
    let cpus = 2 + Int(seed % 3)
    let nodes = 1 + Int(seed % 2)
    // Small enough that memory runs out again and again.
    let world = try World(frames: 128 << (seed % 3), cpus: cpus, nodes: nodes, seed: seed)
    let before = world.picture()
    let bodies = (0..<cpus).map { number in
      { (cpu: Simulated) in try work(world, cpu, number: number, seed: seed, steps: 300) }
    }
    try world.simulation.run(bodies)
    for (frame, order) in world.parcels { try world.give(frame, order: order) }
    world.frames._checkInvariants()
    #expect(world.problems.isEmpty, "seed \(seed): \(world.problems.first ?? "")")
    #expect(world.simulation.violations.isEmpty, "seed \(seed)")
    #expect(world.frames.freeFrames == world.frames.totalFrames && world.owners.isEmpty, "seed \(seed)")
    world.frames.drain()
    #expect(world.picture() == before, "seed \(seed)")
    world.frames._checkInvariants()
  }

  @Test(arguments: 1...3 as ClosedRange<UInt64>)
  func `The same seed gives the same run`(seed: UInt64) throws {
    func trace() throws -> UInt64 {
      let world = try World(frames: 256, cpus: 3, nodes: 1, seed: seed)
      let bodies = (0..<3).map { number in
        { (cpu: Simulated) in try work(world, cpu, number: number, seed: seed, steps: 150) }
      }
      try world.simulation.run(bodies)
      return world.simulation.traceHash
    }
    #expect(try trace() == trace(), "seed \(seed)")
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `While a frame is free, none is refused, wherever it lies`(seed: UInt64) throws {
    let cpus = 4
    let world = try World(frames: 64, cpus: cpus, nodes: 1, seed: seed)
    // Each CPU may hold a quarter of memory, so together they never hold more than all.
    let bodies = (0..<cpus).map { number in
      { (_: Simulated) in
        var random = SplitMix64(seed: seed &* 64 &+ UInt64(number))
        var mine: [PageFrame] = []
        for _ in 0..<400 {
          if mine.count < 16, random.next(below: 3) != 0 {
            let request = FrameRequest(purpose: .vmalloc, cleared: random.next(below: 4) == 0)
            mine.append(try world.frames.allocate(request))
          } else if !mine.isEmpty {
            try world.frames.free(mine.remove(at: random.next(below: mine.count)), order: 0)
          }
        }
        for frame in mine { try world.frames.free(frame, order: 0) }
      }
    }
    #expect(throws: Never.self, "seed \(seed)") { try world.simulation.run(bodies) }
    #expect(world.frames.freeFrames == 64)
    world.frames._checkInvariants()
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `Memory that one CPU removes is handed to no other until it is added again`(seed: UInt64) throws {
    let world = try World(frames: 128 << (seed % 3), cpus: 3, nodes: 1, seed: seed)
    let count = world.frames.totalFrames
    let before = world.picture()
    var removals = 0
    var bodies = (0..<2).map { number in
      { (cpu: Simulated) in try work(world, cpu, number: number, seed: seed, steps: 300) }
    }
    bodies.append { _ in
      var random = SplitMix64(seed: seed)
      for _ in 0..<80 {
        let offset = random.next(below: count)
        let frames = 1 + random.next(below: min(count - offset, 16))
        let first = PageFrame(0x4000_0000 >> 12) + offset
        do throws(MemoryChangeError) {
          try world.frames.removeMemory(start: first.physicalAddress, byteCount: frames << 12)
        } catch { continue }
        removals += 1
        for index in 0..<frames {
          if let owner = world.owners.updateValue(2, forKey: first + index) {
            world.problems.append("frame \(first + index) was removed, and is CPU \(owner)'s")
          }
        }
        world.frames.drain(cpu: random.next(below: 3))
        for index in 0..<frames { world.owners[first + index] = nil }
        try world.frames.addMemory(start: first.physicalAddress, byteCount: frames << 12)
      }
    }
    try world.simulation.run(bodies)
    for (frame, order) in world.parcels { try world.give(frame, order: order) }
    world.frames._checkInvariants()
    #expect(world.problems.isEmpty, "seed \(seed): \(world.problems.first ?? "")")
    #expect(removals > 0, "seed \(seed)")
    #expect(world.frames.totalFrames == count && world.frames.freeFrames == count, "seed \(seed)")
    world.frames.drain()
    #expect(world.picture() == before, "seed \(seed)")
  }

  /// The largest aligned free blocks that the free frames form.
  private func expectedBlocks(_ world: World, frames count: Int) -> [Int] {
    let first = PageFrame(0x4000_0000 >> 12)
    var isFree = (0..<count).map { world.owners[first + $0] == nil }
    var blocks: [Int] = []
    for order in 0...10 {
      var merged: [Bool] = []
      var left = 0
      for pair in stride(from: 0, to: isFree.count, by: 2) {
        let both = pair + 1 < isFree.count && isFree[pair] && isFree[pair + 1] && order < 10
        merged.append(both)
        if !both {
          left += isFree[pair] ? 1 : 0
          if pair + 1 < isFree.count, isFree[pair + 1] { left += 1 }
        }
      }
      blocks.append(left)
      isFree = merged
    }
    return blocks
  }

  @Test(arguments: 1...30 as ClosedRange<UInt64>)
  func `What idle CPUs clear changes no count, and costs no request a frame or a block`(seed: UInt64) throws {
    let cpus = 2 + Int(seed % 3)
    let count = 512
    let world = try World(frames: count, cpus: cpus, nodes: 1, seed: seed)
    var random = SplitMix64(seed: seed)
    var refusals = 0
    var cleared = 0
    let worker: (Simulated) throws -> Void = { _ in
      var mine: [(PageFrame, Int)] = []
      for step in 0..<500 {
        // Memory fills up, then empties, and so on.
        let isFilling = step / 125 % 2 == 0
        if random.next(below: 8) < (isFilling ? 6 : 2) {
          let order = random.next(below: 4) == 0 ? 0 : random.next(below: 7)
          let request = FrameRequest(order: order, purpose: .vmalloc, cleared: random.next(below: 2) == 0)
          do {
            let frame = try world.frames.allocate(request)
            world.got(frame, order: order, by: 0, cleared: request.cleared)
            mine.append((frame, order))
          } catch {
            refusals += 1
            let blocks = expectedBlocks(world, frames: count)
            if blocks[order...].contains(where: { $0 > 0 }) {
              world.problems.append("order \(order) was refused, and there are blocks \(blocks)")
            }
          }
        } else if !mine.isEmpty {
          let (frame, order) = mine.remove(at: random.next(below: mine.count))
          try world.give(frame, order: order)
        }
        if world.frames.freeFrames != count - world.owners.count {
          world.problems.append("\(world.frames.freeFrames) frames are said to be free")
        }
        guard random.next(below: 16) == 0 else { continue }
        cleared = max(cleared, world.frames.zeroedFrames(on: NodeID(0)))
        world.frames.pauseClearing()
        world.frames.drain()
        let blocks = (0...10).map { world.frames.freeBlocks(ofOrder: $0) }
        if blocks != expectedBlocks(world, frames: count) { world.problems.append("the blocks are \(blocks)") }
        world.frames._checkInvariants()
        world.frames.resumeClearing()
      }
      for (frame, order) in mine { try world.give(frame, order: order) }
    }
    let idle: (Simulated) throws -> Void = { cpu in
      for _ in 0..<800 where !world.frames.zeroOneFrame() {
        // The check makes no call of the machine, and other CPUs are to go on.
        cpu.restoreInterrupts(cpu.disableInterrupts())
      }
    }
    try world.simulation.run([worker] + Array(repeating: idle, count: cpus - 1))
    #expect(world.problems.isEmpty, "seed \(seed): \(world.problems.first ?? "")")
    #expect(world.simulation.violations.isEmpty, "seed \(seed)")
    #expect(refusals > 0 && cleared > 0, "seed \(seed)")
    #expect(world.frames.freeFrames == count && world.owners.isEmpty, "seed \(seed)")
    world.frames._checkInvariants()
  }

  @Test func `A pause lets the CPU that clears a frame go on, also where CPUs run in turn`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 4096)
    let bank = MemoryBank(start: PhysicalAddress(0x4000_0000), byteCount: 4096 * pageSize)
    let simulation = try Simulation(
      SimulationConfiguration(memory: [bank], cpuCount: 2, stepLimit: 10_000, runsCPUsInTurn: true))
    let metadata = UnsafeMutableRawBufferPointer.allocate(
      byteCount: BuddyAllocator<Watched>.metadataByteCount(for: map, cpuCount: 2), alignment: 64)
    defer { metadata.deallocate() }
    let watch = Watch()
    let frames = try BuddyAllocator(
      frames: map, metadata: metadata, machine: Watched(simulation.machine, watch), cpuCount: 2)
    var isClearing = false
    var pausedInMiddle = false
    watch.beforeClear = { _ in
      isClearing = true
      while !pausedInMiddle { simulation.machine.relax() }
      isClearing = false
    }
    try simulation.run([
      { _ in _ = frames.zeroOneFrame() },
      { cpu in
        while !isClearing { cpu.relax() }
        pausedInMiddle = true
        frames.pauseClearing()
        let zeroed = frames.zeroedFrames(on: NodeID(0))
        #expect(!isClearing && zeroed == 1)
        frames.resumeClearing()
      },
    ])
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `Of several CPUs that give back the same frame, one succeeds`(seed: UInt64) throws {
    let world = try World(frames: 64, cpus: 3, nodes: 1, seed: seed)
    let frame = try world.frames.allocate(FrameRequest(purpose: .vmalloc))
    var errors: [FrameSourceError] = []
    let body: (Simulated) -> Void = { _ in
      do {
        try world.frames.free(frame, order: 0)
      } catch { errors.append(error as! FrameSourceError) }
    }
    try world.simulation.run([body, body, body])
    #expect(errors == [.doubleFree(frame), .doubleFree(frame)], "seed \(seed)")
    world.frames._checkInvariants()
  }

  // MARK: On the host's threads

  @Test(arguments: 1...4 as ClosedRange<UInt64>)
  func `The same on threads that run at the same time`(seed: UInt64) throws {
    let cpus = 4
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 2048)
    let byteCount = BuddyAllocator<HostMachine>.metadataByteCount(for: map, cpuCount: cpus)
    let metadata = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 64)
    defer { metadata.deallocate() }
    let frames = HostFrames(
      try BuddyAllocator(frames: map, metadata: metadata, machine: HostMachine(), cpuCount: cpus))
    let owners = Owners(first: 0x40000, count: 2048)
    onThreads(cpus) { number in frames.work(number, seed: seed, owners: owners) }
    #expect(owners.problems == 0, "seed \(seed)")
    #expect(frames.allocator.freeFrames == 2048, "seed \(seed)")
    HostMachine.sit(on: 0)
    frames.allocator._checkInvariants()
    frames.allocator.drain()
    frames.allocator._checkInvariants()
    #expect(frames.allocator.freeBlocks(ofOrder: 10) == 2, "seed \(seed)")
  }
}
