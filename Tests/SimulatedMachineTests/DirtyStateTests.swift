// Dirty state in entries: when a store sets it, who sees it, and how it is lost.

import KernelMachine
import SimulatedMachine
import Testing

@Suite struct DirtyStateTests {
  let page = SmallKernel.vmalloc

  func mapClean(_ kernel: SmallKernel) {
    kernel.write(.page(kernel.frame(), .kernelReadWrite).writableClean, at: page)
    kernel.machine.publishEntries()
  }

  @Test func aStoreMakesTheEntryDirtyAndALoadDoesNot() throws {
    let kernel = try SmallKernel(tracksDirtyPages: true)
    mapClean(kernel)
    let entry = kernel.entry(page)
    let clean = kernel.machine.readEntry(at: entry)
    _ = try kernel.machine.load(page, as: UInt64.self)
    kernel.machine.publishEntries()
    #expect(kernel.machine.readEntry(at: entry) == clean)
    try kernel.machine.store(UInt8(1), to: page + 4095)
    kernel.machine.publishEntries()
    #expect(kernel.machine.readEntry(at: entry) == clean.writable)
    #expect(kernel.simulation.brokenRules == [])
  }

  @Test func clearingThroughAPagesAddressMakesItDirty() throws {
    let kernel = try SmallKernel(tracksDirtyPages: true)
    mapClean(kernel)
    kernel.machine.clear(page, byteCount: pageSize)
    kernel.machine.publishEntries()
    #expect(kernel.machine.readEntry(at: kernel.entry(page)).isDirty)
    #expect(kernel.simulation.brokenRules == [])
  }

  @Test func storesThroughTheLinearMapLeaveNoMark() throws {
    let kernel = try SmallKernel(tracksDirtyPages: true)
    mapClean(kernel)
    let frame = kernel.machine.readEntry(at: kernel.entry(page)).frame
    try kernel.machine.store(UInt64(7), to: kernel.machine.linearAddress(of: frame))
    kernel.machine.publishEntries()
    #expect(!kernel.machine.readEntry(at: kernel.entry(page)).isDirty)
    #expect(try kernel.machine.load(page, as: UInt64.self) == 7)
  }

  @Test func withoutDirtyStateACleanEntryForbidsStores() throws {
    let kernel = try SmallKernel()
    mapClean(kernel)
    #expect(throws: SimulatedFault(kind: .permission, address: page, level: 3, access: .write)) {
      try kernel.machine.store(UInt64(1), to: page)
    }
    #expect(!kernel.machine.readEntry(at: kernel.entry(page)).isDirty)
  }

  @Test func untrackedPagesAreReadOnlyOrWritableAsBefore() throws {
    let kernel = try SmallKernel(tracksDirtyPages: true)
    kernel.map(kernel.frame(), at: page, .kernelReadOnly)
    #expect(throws: SimulatedFault(kind: .permission, address: page, level: 3, access: .write)) {
      try kernel.machine.store(UInt64(1), to: page)
    }
    kernel.map(kernel.frame(), at: page + pageSize)
    let entry = kernel.machine.readEntry(at: kernel.entry(page + pageSize))
    try kernel.machine.store(UInt64(1), to: page + pageSize)
    #expect(kernel.machine.readEntry(at: kernel.entry(page + pageSize)) == entry)
  }

  // Found at the first store, with every seed; that the entry stays clean depends on the seed.
  @Test func makingADirtyEntryCleanWithoutAnInvalidationIsFound() throws {
    var lost = 0
    for seed in 1...40 {
      let kernel = try SmallKernel(seed: UInt64(seed), tracksDirtyPages: true)
      mapClean(kernel)
      try kernel.machine.store(UInt64(1), to: page)
      kernel.machine.publishEntries()
      let entry = kernel.entry(page)
      kernel.machine.writeEntry(kernel.machine.readEntry(at: entry).writableClean, at: entry)
      kernel.machine.publishEntries()
      try kernel.machine.store(UInt64(2), to: page)
      kernel.machine.publishEntries()
      if !kernel.machine.readEntry(at: entry).isDirty { lost += 1 }
      #expect(kernel.simulation.brokenRules == [.dirtyStateLost], "seed \(seed)")
    }
    #expect((1..<40).contains(lost))
  }

  @Test func afterAnInvalidationACleanEntryIsKept() throws {
    let kernel = try SmallKernel(tracksDirtyPages: true)
    mapClean(kernel)
    let entry = kernel.entry(page)
    for round in 0..<8 {
      try kernel.machine.store(round, to: page)
      kernel.machine.publishEntries()
      #expect(kernel.machine.readEntry(at: entry).isDirty)
      kernel.machine.writeEntry(kernel.machine.readEntry(at: entry).writableClean, at: entry)
      kernel.invalidate(page)
    }
    #expect(kernel.simulation.brokenRules == [])
  }

  @Test func softwareMayMakeAnEntryDirtyWithoutAnInvalidation() throws {
    let kernel = try SmallKernel(tracksDirtyPages: true)
    mapClean(kernel)
    let entry = kernel.entry(page)
    kernel.machine.writeEntry(kernel.machine.readEntry(at: entry).writable, at: entry)
    kernel.machine.publishEntries()
    try kernel.machine.store(UInt64(1), to: page)
    #expect(kernel.simulation.brokenRules == [])
  }

  @Test func aLoadOfTheEntryIsOrderedAfterTheStoreByABarrierOnly() throws {
    var unseen = 0
    for seed in 1...40 {
      let kernel = try SmallKernel(seed: UInt64(seed), tracksDirtyPages: true)
      mapClean(kernel)
      let entry = kernel.entry(page)
      try kernel.machine.store(UInt64(1), to: page)
      if !kernel.machine.readEntry(at: entry).isDirty { unseen += 1 }
      kernel.machine.publishEntries()
      #expect(kernel.machine.readEntry(at: entry).isDirty, "seed \(seed)")
    }
    #expect((1..<40).contains(unseen))
  }
}
