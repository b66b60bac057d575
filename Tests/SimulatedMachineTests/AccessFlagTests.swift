// The access flag of entries: when a CPU sets it, and how an untouched entry may be taken back.

import KernelMachine
import SimulatedMachine
import Testing

@Suite struct AccessFlagTests {
  let page = SmallKernel.vmalloc
  let seeds = 1...40

  func kernel(seed: Int = 1, cpuCount: Int = 1) throws -> SmallKernel {
    try SmallKernel(cpuCount: cpuCount, seed: UInt64(seed), updatesAccessFlags: true)
  }

  /// Maps a new frame at the page, untouched, and publishes it.
  @discardableResult func lend(_ kernel: SmallKernel) -> PageTableEntry {
    let entry = PageTableEntry.page(kernel.frame(), .kernelReadWrite).untouched
    kernel.write(entry, at: page)
    kernel.machine.publishEntries()
    return entry
  }

  @Test func `An access sets the flag, whether it loads or stores`() throws {
    for stores in [false, true] {
      let kernel = try kernel()
      let lent = lend(kernel)
      #expect(!lent.isAccessed)
      if stores { try kernel.machine.store(UInt64(1), to: page) } else { _ = try kernel.machine.load(page) }
      kernel.machine.completeAccesses()
      let entry = kernel.machine.readEntry(at: kernel.entry(page))
      #expect(entry.isAccessed && entry.untouched == lent)
      #expect(kernel.simulation.brokenRules == [])
    }
  }

  @Test func `Where CPUs set no flags, an untouched entry faults and stays`() throws {
    let kernel = try SmallKernel()
    let lent = lend(kernel)
    #expect(throws: SimulatedFault(kind: .accessFlag, address: page, level: 3, access: .read)) {
      _ = try kernel.machine.load(page)
    }
    #expect(kernel.machine.readEntry(at: kernel.entry(page)) == lent)
  }

  @Test func `A CPU may touch a page without an access`() throws {
    let touched = try seeds.count { seed in
      let kernel = try kernel(seed: seed)
      let lent = lend(kernel)
      return !kernel.machine.replaceEntry(lent, with: .empty, at: kernel.entry(page))
    }
    #expect((1..<20).contains(touched))
  }

  @Test func `An untouched entry that is replaced in one step needs no invalidation`() throws {
    var taken = 0
    for seed in seeds {
      let kernel = try kernel(seed: seed, cpuCount: 2)
      let lent = lend(kernel)
      guard kernel.machine.replaceEntry(lent, with: .empty, at: kernel.entry(page)) else { continue }
      taken += 1
      // The frame and the address get new uses at once.
      kernel.machine.clear(kernel.machine.linearAddress(of: lent.frame), byteCount: pageSize)
      lend(kernel)
      kernel.map(lent.frame, at: page + pageSize)
      try kernel.machine.store(UInt64(1), to: page)
      #expect(kernel.simulation.brokenRules == [], "seed \(seed)")
    }
    #expect(taken > 20)
  }

  @Test func `The entry of a page that was touched is not replaced`() throws {
    for seed in seeds {
      let kernel = try kernel(seed: seed, cpuCount: 2)
      let lent = lend(kernel)
      var isTaken = true
      try kernel.simulation.run([
        { _ in
          try? kernel.machine.store(UInt64(1), to: page)
          isTaken = kernel.machine.replaceEntry(lent, with: .empty, at: kernel.entry(page))
        }
      ])
      #expect(!isTaken, "seed \(seed)")
      #expect(kernel.simulation.brokenRules == [])
    }
  }

  @Test func `A load may miss that a page was touched, until accesses have completed`() throws {
    var missed = 0
    for seed in seeds {
      let kernel = try kernel(seed: seed)
      lend(kernel)
      _ = try kernel.machine.load(page)
      kernel.machine.publishEntries()
      if !kernel.machine.readEntry(at: kernel.entry(page)).isAccessed { missed += 1 }
      kernel.machine.completeAccesses()
      #expect(kernel.machine.readEntry(at: kernel.entry(page)).isAccessed)
    }
    #expect((1..<40).contains(missed))
  }

  @Test func `A look followed by a store is found: a CPU may touch the page in between`() throws {
    for seed in seeds {
      let kernel = try kernel(seed: seed)
      let lent = lend(kernel)
      let entry = kernel.entry(page)
      guard kernel.machine.readEntry(at: entry) == lent else { continue }
      kernel.machine.writeEntry(.empty, at: entry)
      kernel.machine.publishEntries()
      kernel.machine.clear(kernel.machine.linearAddress(of: lent.frame), byteCount: pageSize)
      #expect(kernel.simulation.brokenRules == [.frameReused], "seed \(seed)")
    }
  }

  @Test func `A touched entry that is replaced without an invalidation is found`() throws {
    let kernel = try kernel()
    let lent = lend(kernel)
    try kernel.machine.store(UInt64(1), to: page)
    let touched = PageTableEntry(rawValue: lent.rawValue | 1 << 10)
    #expect(kernel.machine.replaceEntry(touched, with: .empty, at: kernel.entry(page)))
    kernel.machine.publishEntries()
    kernel.machine.clear(kernel.machine.linearAddress(of: lent.frame), byteCount: pageSize)
    #expect(kernel.simulation.brokenRules == [.frameReused])
  }

  @Test func `An address that is lent while its last translation may be cached is found`() throws {
    let kernel = try kernel()
    let lent = lend(kernel)
    try kernel.machine.store(UInt64(1), to: page)
    kernel.machine.writeEntry(.empty, at: kernel.entry(page))
    kernel.machine.publishEntries()
    lend(kernel)
    #expect(kernel.simulation.brokenRules == [.addressReused])
    #expect(lent.frame != kernel.machine.readEntry(at: kernel.entry(page)).frame)
  }

  // Found with every seed; whether the flag stays clear depends on it.
  @Test func `A flag that is cleared without an invalidation is found at the next access`() throws {
    var lost = 0
    for seed in seeds {
      let kernel = try kernel(seed: seed)
      let lent = lend(kernel)
      try kernel.machine.store(UInt64(1), to: page)
      kernel.machine.completeAccesses()
      let entry = kernel.entry(page)
      kernel.machine.writeEntry(lent, at: entry)
      kernel.machine.publishEntries()
      try kernel.machine.store(UInt64(2), to: page)
      if kernel.machine.replaceEntry(lent, with: .empty, at: entry) { lost += 1 }
      #expect(kernel.simulation.brokenRules.first == .accessFlagLost, "seed \(seed)")
    }
    #expect((1..<40).contains(lost))
  }

  @Test func `After an invalidation a page can be lent again, any number of times`() throws {
    let kernel = try kernel()
    for round in 0..<8 {
      let lent = lend(kernel)
      try kernel.machine.store(round, to: page)
      #expect(!kernel.machine.replaceEntry(lent, with: .empty, at: kernel.entry(page)))
      kernel.machine.writeEntry(.empty, at: kernel.entry(page))
      kernel.invalidate(page)
      kernel.machine.clear(kernel.machine.linearAddress(of: lent.frame), byteCount: pageSize)
    }
    #expect(kernel.simulation.brokenRules == [])
  }

  @Test func `An entry outside memory is not replaced`() throws {
    let kernel = try kernel()
    #expect(!kernel.machine.replaceEntry(.empty, with: .empty, at: PhysicalAddress(8)))
    #expect(kernel.simulation.brokenRules == [.invalidArgument])
  }
}
