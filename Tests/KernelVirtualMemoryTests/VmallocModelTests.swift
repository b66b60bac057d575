// Long random sequences against a model that is too simple to be wrong: a sorted array of areas.

import KernelStacks
import SeededRandom
import SimulatedMachine
import Testing

/// The required results of vmalloc, by linear search.
struct VmallocModel {
  struct Area: Equatable {
    var start: UInt
    var base: UInt
    var end: UInt
    var pages: Int
    var isRetired = false
    /// Of a retired area: the pages whose frames have not gone back.
    var waiting = 0
  }

  let range: Range<UInt>
  var areas: [Area] = []
  /// Freed areas that wait for an invalidation, and those that wait for their turn after it, each latest first.
  var pending: [UInt] = []
  var ready: [UInt] = []

  var retiredPages: Int { areas.reduce(0) { $0 + $1.waiting } }
  func area(_ base: UInt) -> Int { areas.firstIndex { $0.base == base }! }
  var retiredAreas: Int { areas.count { $0.isRetired } }

  var gaps: [Range<UInt>] {
    var lower = range.lowerBound
    var gaps: [Range<UInt>] = []
    for area in areas {
      gaps.append(lower..<area.start)
      lower = area.end
    }
    return gaps + [lower..<range.upperBound]
  }

  mutating func flush() {
    areas.removeAll { $0.isRetired }
    pending = []
    ready = []
  }

  /// The lowest place, tried page by page from the start of each gap.
  mutating func allocate(pages: Int, alignment: UInt, guard guardBytes: UInt) -> UInt? {
    for attempt in 0..<2 {
      for gap in gaps {
        let base = (gap.lowerBound + alignment - 1) / alignment * alignment
        let end = base + UInt(pages) * 4096 + guardBytes
        if end <= gap.upperBound {
          areas.append(Area(start: base, base: base, end: end, pages: pages))
          areas.sort { $0.start < $1.start }
          return base
        }
      }
      if attempt == 0 {
        guard retiredAreas > 0 else { return nil }
        flush()
      }
    }
    return nil
  }

  mutating func free(_ base: UInt, pagesBound: Int, areasBound: Int) {
    let pages = areas[area(base)].pages
    areas[area(base)].isRetired = true
    areas[area(base)].waiting = pages
    pending.insert(base, at: 0)
    let pendingPages = pending.reduce(0) { $0 + areas[area($1)].pages }
    if pendingPages >= pagesBound || pending.count >= areasBound, ready.isEmpty {
      (ready, pending) = (pending, [])
      return
    }
    var left = max(pages + 4, 8)
    while left > 0, let first = ready.first {
      let count = min(left, areas[area(first)].waiting)
      areas[area(first)].waiting -= count
      left -= count
      if areas[area(first)].waiting == 0 {
        areas.remove(at: area(first))
        ready.removeFirst()
      }
    }
  }
}

@Suite struct VmallocModelTests {
  @Test(arguments: [(39, 1), (39, 2), (39, 3), (48, 4)] as [(Int, UInt64)])
  func `Random sequences match the model`(bits: Int, seed: UInt64) throws {
    let world = try TestWorld(bits: bits, memoryBytes: 16 << 20, seed: seed)
    var random = SplitMix64(seed: seed)
    // Narrow, so that address space runs out, and across a boundary of GiB.
    let middle = world.layout.vmallocArea.lowerBound.rawValue | (1 << 30 - 1)
    let range = middle + 1 - 900 * 4096..<middle + 1 + 1500 * 4096
    let area = VmallocArea(range, machine: world.machine)
    let before = world.frames.outstanding
    var model = VmallocModel(range: range)
    var contents: [UInt: UInt64] = [:]
    var outcomes = (allocated: 0, refused: 0, freed: 0)

    for step in 0..<4_000 {
      let comment: Comment = "seed \(seed), step \(step)"
      // Phases of growth and of shrinking.
      let isGrowing = step / 500 % 2 == 0
      let choice = random.next() % 100
      let live = model.areas.filter { !$0.isRetired }
      if choice < (isGrowing ? 65 : 35) {
        let pages = random.next() % 20 == 0 ? 1 + Int(random.next() % 300) : 1 + Int(random.next() % 8)
        let alignment: UInt = random.next() % 3 == 0 ? 4096 << (random.next() % 12) : 4096
        let guardBytes = UInt(1 + random.next() % 3) * 4096
        let expected = model.allocate(pages: pages, alignment: alignment, guard: guardBytes)
        let largest = model.gaps.map(\.count).max()!
        var found: VirtualAddress?
        let error = thrown { () throws(VmallocError) in
          found = try area.vmalloc(
            size: pages * 4096, alignment: Int(alignment), guard: Int(guardBytes), caller: "model",
            frames: world.frames)
        }
        try #require(found?.rawValue == expected, comment)
        if let base = found {
          contents[base.rawValue] = random.next()
          let last = base + (pages - 1) * 4096
          let word: UInt64 = try world.machine.load(last)
          #expect(word == 0, comment)
          try world.machine.store(contents[base.rawValue]!, to: last)
          outcomes.allocated += 1
        } else {
          #expect(model.retiredAreas == 0, "all that waits is made free first")
          let refusal = VmallocError.noAddressSpace(
            requestedBytes: pages * 4096, alignment: Int(alignment), largestGapBytes: largest)
          #expect(error == refusal, comment)
          outcomes.refused += 1
        }
      } else if choice < 97, let victim = live.isEmpty ? nil : live[Int(random.next() % UInt64(live.count))] {
        let last = VirtualAddress(victim.base) + (victim.pages - 1) * 4096
        let word: UInt64 = try world.machine.load(last)
        #expect(word == contents[victim.base], comment)
        try area.vfree(VirtualAddress(victim.base), frames: world.frames)
        model.free(
          victim.base, pagesBound: VmallocArea<Simulated>.retiredPagesBound,
          areasBound: VmallocArea<Simulated>.retiredAreasBound)
        outcomes.freed += 1
      } else {
        let freed = area.flush(frames: world.frames)
        #expect(freed >= model.retiredPages, comment)
        model.flush()
      }
      let figures = area.figures
      try #require(figures.areas == model.areas.count - model.retiredAreas, comment)
      try #require(figures.retiredPages == model.retiredPages, comment)
      try #require(
        world.frames.count(.vmalloc) == model.areas.reduce(0) { $0 + ($1.isRetired ? $1.waiting : $1.pages) },
        "every page of every area, and no other: seed \(seed), step \(step)")
      let probe = range.lowerBound + UInt(random.next() % UInt64(range.count))
      let owner = model.areas.first {
        $0.base <= probe && probe < $0.base + UInt($0.pages) * 4096 && !$0.isRetired
      }
      #expect((area.page(of: VirtualAddress(probe)) != nil) == (owner != nil), comment)
      // Records after every step, page tables now and then: they are read entry by entry.
      area._checkInvariants(isQuiet: step % 16 == 0)
    }
    #expect(outcomes.allocated > 500 && outcomes.refused > 10 && outcomes.freed > 500, "\(outcomes)")
    for victim in model.areas where !victim.isRetired {
      try area.vfree(VirtualAddress(victim.base), frames: world.frames)
    }
    area.close(frames: world.frames)
    #expect(world.frames.outstanding == before, "seed \(seed)")
    world.expectNoViolations("seed \(seed)")
  }

  @Test(arguments: [1, 2, 3] as [UInt64]) func `Every refusal in a random sequence is undone`(seed: UInt64)
    throws
  {
    let world = try TestWorld(memoryBytes: 4 << 20, seed: seed)
    var random = SplitMix64(seed: seed)
    let area = VmallocArea(world.layout, machine: world.machine)
    var live: [VirtualAddress] = []
    var refusals = 0
    for step in 0..<600 {
      let comment: Comment = "seed \(seed), step \(step)"
      if random.next() % 100 < 60 || live.isEmpty {
        area.flush(frames: world.frames)
        let before = world.frames.outstanding
        let figures = area.figures
        world.frames.requestsUntilRefusal = Int(random.next() % 12)
        let error = thrown { () throws(VmallocError) in
          live.append(
            try area.vmalloc(
              size: 4096 * Int(1 + random.next() % 8), alignment: 4096 << Int(random.next() % 20),
              caller: "test", frames: world.frames))
        }
        if error != nil {
          refusals += 1
          try #require(world.frames.outstanding == before, comment)
          try #require(area.figures == figures, comment)
        }
        world.frames.requestsUntilRefusal = nil
      } else {
        let index = Int(random.next() % UInt64(live.count))
        try area.vfree(live.remove(at: index), frames: world.frames)
      }
      // Records after every step, page tables now and then: they are read entry by entry.
      area._checkInvariants(isQuiet: step % 16 == 0)
    }
    #expect(refusals > 50)
    for base in live { try area.vfree(base, frames: world.frames) }
    area.close(frames: world.frames)
    #expect(world.frames.outstanding.isEmpty)
    world.expectNoViolations(Comment(rawValue: "seed \(seed)"))
  }
}
