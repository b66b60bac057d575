// Several CPUs allocate, use, free each other's small areas and flush, all at once, against a model of their owners.

import KernelStacks
import SeededRandom
import SimulatedMachine
import Testing

/// The model that all CPUs share: the areas in use, and the contents of their pages.
///
/// One simulated CPU runs at a time, and hands over only inside calls of the machine.
private final class AreaModel: @unchecked Sendable {
  struct Area {
    var base: VirtualAddress
    var pages: Int
    var guardPages: Int
    var mark: UInt64
  }

  let area: VmallocArea<Simulated>
  var areas: [Area] = []
  /// Pages of areas in use and of their guards, and of areas whose freeing is under way.
  var taken: Set<UInt> = []
  var freedByOthers = 0
  var flushes = 0
  var refused = 0

  init(_ area: consuming VmallocArea<Simulated>) { self.area = area }

  func pages(_ area: Area) -> Range<UInt> {
    let first = area.base.rawValue >> 12
    return first..<first + UInt(area.pages + area.guardPages)
  }

  /// Enters a new area, unless it overlaps another.
  func add(_ area: Area) -> Bool {
    for page in pages(area) where !taken.insert(page).inserted { return false }
    areas.append(area)
    return true
  }
}

@Suite struct SmallAreaModelTests {
  @Test(arguments: 1...16 as ClosedRange<UInt64>) func `No two CPUs ever have the same page`(seed: UInt64)
    throws
  {
    // In the last of each four, memory is so short that frames are refused.
    let isShort = seed % 4 == 0
    let world = try TestWorld(
      bits: seed % 2 == 0 ? 48 : 39, memoryBytes: isShort ? 1 << 20 : 6 << 20, cpus: seed % 3 == 0 ? 2 : 4,
      seed: seed)
    let frames = world.frames
    let model = AreaModel(VmallocArea(world.layout, machine: world.machine))
    let cpus = seed % 3 == 0 ? 2 : 4
    var owners: [VirtualAddress: Int] = [:]
    let body: (Simulated) throws -> Void = { machine in
      let cpu = machine.currentCPU
      var random = SplitMix64(seed: seed &* 1000 &+ UInt64(cpu))
      for step in 0..<150 {
        let comment: Comment = "seed \(seed), CPU \(cpu), step \(step)"
        switch random.next(below: 20) {
        case 0:
          model.area.flush(frames: frames)
          model.flushes += 1
        case 1:
          // Never where an area starts; it may be one that another CPU is just making or freeing.
          let chunks = world.layout.vmallocArea.upperBound - (512 << 20)
          let address = chunks + (random.next(below: 600) * 4096 + 8)
          #expect(throws: VmallocError.self, comment) { try model.area.vfree(address, frames: frames) }
        case 2..<12:
          let pages = random.next(below: 12) == 0 ? 20 + random.next(below: 40) : 1 + random.next(below: 6)
          let guardPages = 1 + random.next(below: 2)
          let alignment = random.next(below: 4) == 0 ? 4096 << random.next(below: 8) : 4096
          let base: VirtualAddress
          do throws(VmallocError) {
            base = try model.area.vmalloc(
              size: pages * 4096, alignment: alignment, guard: guardPages * 4096, caller: "model",
              frames: frames)
          } catch {
            try #require(isShort, comment)
            model.refused += 1
            continue
          }
          #expect(base.rawValue & UInt(alignment - 1) == 0, comment)
          let mark = random.next()
          for page in 0..<pages {
            #expect(try machine.load(base + page * 4096) == UInt64(0), comment)
            try machine.store(mark &+ UInt64(page), to: base + page * 4096)
          }
          owners[base] = cpu
          try #require(
            model.add(AreaModel.Area(base: base, pages: pages, guardPages: guardPages, mark: mark)),
            "an area overlaps another: \(comment)")
        default:
          guard !model.areas.isEmpty else { continue }
          let victim = model.areas.remove(at: random.next(below: model.areas.count))
          if owners[victim.base] != cpu { model.freedByOthers += 1 }
          for page in 0..<victim.pages {
            #expect(try machine.load(victim.base + page * 4096) == victim.mark &+ UInt64(page), comment)
          }
          // From here on another CPU may get the address, but only after an invalidation.
          for page in model.pages(victim) { model.taken.remove(page) }
          try model.area.vfree(victim.base, frames: frames)
        }
        model.area._checkInvariants(isQuiet: false)
      }
    }
    try world.simulation.run(Array(repeating: body, count: cpus))
    model.area._checkInvariants()
    #expect(model.area.figures.areas == model.areas.count)
    #expect(model.area.figures.mappedPages == model.areas.reduce(0) { $0 + $1.pages })
    #expect(model.freedByOthers > 20 && model.flushes > 3, "seed \(seed)")
    for victim in model.areas {
      for page in 0..<victim.pages {
        #expect(try world.machine.load(victim.base + page * 4096) == victim.mark &+ UInt64(page))
      }
      try model.area.vfree(victim.base, frames: frames)
    }
    model.area.flush(frames: frames)
    model.area._checkInvariants()
    #expect(frames.outstanding.count == 2, "the frames of the state, seed \(seed)")
    world.expectNoViolations("seed \(seed)")
  }
}
