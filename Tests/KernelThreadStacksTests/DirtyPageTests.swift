// Clearing only used pages: no word of a former owner is ever left, and no page is cleared that no thread has touched.

import KernelStacks
import SeededRandom
import SimulatedMachine
import Testing

@Suite struct DirtyPageTests {
  /// The first word of a stack that is not zero, read in its frames.
  static func leftover(_ base: VirtualAddress, _ stacks: borrowing TestStacks) -> Int? {
    for page in 0..<stacks.geometry.pageCount {
      let frame = stacks.page(of: base + page * pageSize)!
      let words = stacks.machine.pointer(to: frame.physicalAddress).assumingMemoryBound(to: UInt64.self)
      for index in 0..<512 where words[index] != 0 { return page * pageSize + index * 8 }
    }
    return nil
  }

  @Test(arguments: [false, true], [1, 2, 3])
  func `What an owner leaves at any depth is gone for the next one`(tracks: Bool, seed: UInt64) throws {
    let world = try World(seed: seed, tracksDirtyPages: tracks)
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    #expect(stacks.clearsOnlyDirtyPages == tracks)
    // A word every 56 bytes meets every offset within a cache line; then the edges of all pages.
    var offsets = Array(stride(from: 0, to: 16384, by: 56))
    for page in 1...4 { offsets += [page * 4096 - 8, (page - 1) * 4096] }
    for offset in offsets {
      let owner = try stacks.allocate(node: nil)
      #expect(Self.leftover(owner.base, stacks) == nil, "before \(offset)")
      try world.machine.store(UInt64.max, to: owner.base + offset)
      stacks.free(owner)
    }
    let last = try stacks.allocate(node: nil)
    #expect(Self.leftover(last.base, stacks) == nil)
    stacks.free(last)
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `Only pages that were stored to are cleared`() throws {
    let world = try World(tracksDirtyPages: true, recordsTrace: true)
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    var pages: [Int] = []
    for next in [[], [3], [0, 3], [0, 1, 2, 3], []] {
      let seen = world.simulation.trace.count
      let stack = try stacks.allocate(node: nil)
      if stacks.coldAllocationCount == 1, pages.isEmpty { #expect(stacks.dirtyPageCount(stack.base) == 0) }
      let cleared = world.simulation.trace[seen...].filter { $0.operation == .clear }
      if seen > 0, !pages.isEmpty || stacks.cachedStackCount > 0 {
        let expected = pages.map { UInt64(stack.base.rawValue) + UInt64($0) * 4096 }
        #expect(cleared.map(\.first) == expected && cleared.allSatisfy { $0.second == 4096 }, "\(pages)")
      }
      for page in next { try world.machine.store(UInt8(1), to: stack.base + page * 4096 + 17) }
      world.machine.publishEntries()
      // A page that was used once is cleared each time: only newly mapped pages are clean.
      pages = Array(Set(pages + next)).sorted()
      #expect(stacks.dirtyPageCount(stack.base) == pages.count)
      stacks.free(stack)
    }
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `A page becomes clean again only with its stack's own invalidation, and none is issued for it`() throws {
    var counts: [UInt64] = []
    for tracks in [false, true] {
      let world = try World(memoryBytes: 8 << 20, tracksDirtyPages: tracks)
      let stacks = try world.stacks(
        StackConfiguration(.vmalloc, cachedStacksPerCPU: 4, depotStacks: 0, retirementBatch: 8))
      var random = SplitMix64(seed: 5)
      for _ in 0..<40 {
        let owners = try (0..<1 + random.next(below: 20)).map { _ in Owner(try stacks.allocate(node: nil)) }
        for owner in owners {
          #expect(Self.leftover(owner.base, stacks) == nil)
          try world.machine.store(UInt64.max, to: owner.base + random.next(below: 2048) * 8)
        }
        for owner in owners { stacks.free(owner.take()) }
        stacks._checkInvariants()
      }
      counts.append(world.machine.counters.tlbInvalidations)
      stacks.reclaim(target: .max)
      let fresh = try stacks.allocate(node: nil)
      #expect(stacks.dirtyPageCount(fresh.base) == (tracks ? 0 : 4))
      stacks.free(fresh)
      #expect(world.simulation.violations.isEmpty)
    }
    #expect(counts[0] == counts[1])
  }

  @Test func `What is written through the linear map is cleared if it was announced`() throws {
    let world = try World(tracksDirtyPages: true)
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    for (offset, count) in [(0, 8), (4095, 2), (4096, 4096), (16376, 8), (0, 16384), (8000, 9000)] {
      let stack = try stacks.allocate(node: nil)
      let before = stacks.dirtyPageCount(stack.base)
      stacks.markWritten(stack.base + offset, byteCount: count)
      #expect(
        stacks.dirtyPageCount(stack.base)
          >= max(before, min(offset + count - 1, 16383) / 4096 - offset / 4096 + 1))
      for byte in stride(from: offset, to: min(offset + count, 16384), by: 1) {
        let frame = stacks.page(of: stack.base + byte)!
        world.machine.pointer(to: frame.physicalAddress + byte % 4096).storeBytes(of: 0xff, as: UInt8.self)
      }
      stacks.free(stack)
      let next = try stacks.allocate(node: nil)
      #expect(Self.leftover(next.base, stacks) == nil, "\(offset), \(count)")
      stacks.free(next)
      stacks.reclaim(target: .max)
    }
    let stack = try stacks.allocate(node: nil)
    for (address, count) in [
      (stack.base - 4096, 4096), (stack.base, 0), (stack.base, -5), (VirtualAddress(0), 4096),
      (VirtualAddress(.max), .max), (stack.base - 9000, 8000),
    ] {
      stacks.markWritten(address, byteCount: count)
      #expect(stacks.dirtyPageCount(stack.base) == 0, "\(count)")
    }
    stacks.markWritten(stack.base - 4096, byteCount: .max)
    #expect(stacks.dirtyPageCount(stack.base) == 4)
    stacks.free(stack)
    #expect(world.simulation.violations.isEmpty)
  }

  @Test(arguments: [StackStrategy.linear, .growing])
  func `Linear and growing stacks are cleared as everywhere`(_ strategy: StackStrategy) throws {
    let world = try World(tracksDirtyPages: true)
    let stacks = try world.stacks(StackConfiguration(strategy))
    #expect(stacks.clearsOnlyDirtyPages == false)
    for _ in 0..<3 {
      let stack = try stacks.allocate(node: nil)
      #expect(try world.machine.load(stack.top - 8, as: UInt64.self) == 0)
      try world.machine.store(UInt64.max, to: stack.top - 8)
      stacks.markWritten(stack.base, byteCount: 16384)
      stacks.free(stack)
    }
    #expect(world.simulation.violations.isEmpty)
  }

  // Stores are ordered only by the allocator's barrier and lock.
  @Test(arguments: 1...12)
  func `Owners on several CPUs, at any depth, never find what another left`(seed: UInt64) throws {
    let world = try World(memoryBytes: 2 << 20, cpuCount: 3, seed: seed, tracksDirtyPages: true)
    let stacks = try world.stacks(
      StackConfiguration(
        .vmalloc, cachedStacksPerCPU: Int(seed) % 3, depotStacks: 6, retirementBatch: 1 + Int(seed) % 4))
    try withUnsafePointer(to: stacks) { shared in
      nonisolated(unsafe) let stacks = shared
      let bodies = (0..<3).map { cpu in
        { (machine: Simulated) throws in
          var random = SplitMix64(seed: seed << 8 | UInt64(cpu))
          var owners: [Owner] = []
          for _ in 0..<120 {
            if owners.count < 5, random.next(below: 2) == 0 {
              let owner = Owner(try stacks.pointee.allocate(node: nil))
              #expect(Self.leftover(owner.base, stacks.pointee) == nil, "seed \(seed)")
              owners.append(owner)
            } else if let owner = owners.popLast() {
              for _ in 0..<random.next(below: 3) {
                try machine.store(random.next() | 1, to: owner.base + random.next(below: 2048) * 8)
              }
              stacks.pointee.free(owner.take())
            }
            if random.next(below: 30) == 0 { stacks.pointee.reclaim(target: random.next(below: 9)) }
          }
          for owner in owners { stacks.pointee.free(owner.take()) }
        }
      }
      try world.simulation.run(bodies)
    }
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty, "seed \(seed)")
  }
}
