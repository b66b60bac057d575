// Dirty state in entries: when a store sets it, when a load sees it, and how it is lost.

import KernelMachine
import SimulatedMachine
import Testing

@Suite struct DirtyStateTests {
  let page = SmallKernel.vmalloc

  func mapClean(_ kernel: SmallKernel) {
    kernel.write(.page(kernel.frame(), .kernelReadWrite).writableClean, at: page)
    kernel.machine.publishEntries()
  }

  @Test func `A store makes the entry dirty, and a load does not`() throws {
    let kernel = try SmallKernel(tracksDirtyPages: true)
    mapClean(kernel)
    let entry = kernel.entry(page)
    let clean = kernel.machine.readEntry(at: entry)
    _ = try kernel.machine.load(page, as: UInt64.self)
    kernel.machine.completeAccesses()
    #expect(kernel.machine.readEntry(at: entry) == clean)
    try kernel.machine.store(UInt8(1), to: page + 4095)
    kernel.machine.completeAccesses()
    #expect(kernel.machine.readEntry(at: entry) == clean.writable)
    #expect(kernel.simulation.brokenRules == [])
  }

  @Test func `Clearing through a page's address makes it dirty`() throws {
    let kernel = try SmallKernel(tracksDirtyPages: true)
    mapClean(kernel)
    kernel.machine.clear(page, byteCount: pageSize)
    kernel.machine.completeAccesses()
    #expect(kernel.machine.readEntry(at: kernel.entry(page)).isDirty)
    #expect(kernel.simulation.brokenRules == [])
  }

  @Test func `Stores through the linear map leave no mark`() throws {
    let kernel = try SmallKernel(tracksDirtyPages: true)
    mapClean(kernel)
    let frame = kernel.machine.readEntry(at: kernel.entry(page)).frame
    try kernel.machine.store(UInt64(7), to: kernel.machine.linearAddress(of: frame))
    kernel.machine.completeAccesses()
    #expect(!kernel.machine.readEntry(at: kernel.entry(page)).isDirty)
    #expect(try kernel.machine.load(page, as: UInt64.self) == 7)
  }

  @Test func `Without dirty state a clean entry forbids stores`() throws {
    let kernel = try SmallKernel()
    mapClean(kernel)
    #expect(throws: SimulatedFault(kind: .permission, address: page, level: 3, access: .write)) {
      try kernel.machine.store(UInt64(1), to: page)
    }
    #expect(!kernel.machine.readEntry(at: kernel.entry(page)).isDirty)
  }

  @Test func `Untracked pages are read-only or writable as before`() throws {
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
  @Test func `Making a dirty entry clean without an invalidation is found`() throws {
    var lost = 0
    for seed in 1...40 {
      let kernel = try SmallKernel(seed: UInt64(seed), tracksDirtyPages: true)
      mapClean(kernel)
      try kernel.machine.store(UInt64(1), to: page)
      kernel.machine.completeAccesses()
      let entry = kernel.entry(page)
      kernel.machine.writeEntry(kernel.machine.readEntry(at: entry).writableClean, at: entry)
      kernel.machine.completeAccesses()
      try kernel.machine.store(UInt64(2), to: page)
      kernel.machine.completeAccesses()
      if !kernel.machine.readEntry(at: entry).isDirty { lost += 1 }
      #expect(kernel.simulation.brokenRules == [.dirtyStateLost], "seed \(seed)")
    }
    #expect((1..<40).contains(lost))
  }

  @Test func `After an invalidation a clean entry is kept`() throws {
    let kernel = try SmallKernel(tracksDirtyPages: true)
    mapClean(kernel)
    let entry = kernel.entry(page)
    for round in 0..<8 {
      try kernel.machine.store(round, to: page)
      kernel.machine.completeAccesses()
      #expect(kernel.machine.readEntry(at: entry).isDirty)
      kernel.machine.writeEntry(kernel.machine.readEntry(at: entry).writableClean, at: entry)
      kernel.invalidate(page)
    }
    #expect(kernel.simulation.brokenRules == [])
  }

  @Test func `Software may make an entry dirty without an invalidation`() throws {
    let kernel = try SmallKernel(tracksDirtyPages: true)
    mapClean(kernel)
    let entry = kernel.entry(page)
    kernel.machine.writeEntry(kernel.machine.readEntry(at: entry).writable, at: entry)
    kernel.machine.completeAccesses()
    try kernel.machine.store(UInt64(1), to: page)
    #expect(kernel.simulation.brokenRules == [])
  }

  /// The number of seeds, of 40, with which a load of the entry by CPU 0 finds it clean after a store by some CPU.
  private func unseen(
    by storing: Int, then order: (SmallKernel) -> Void, loads: Int = 1
  ) throws -> Int {
    var unseen = 0
    for seed in 1...40 {
      let kernel = try SmallKernel(cpuCount: 2, seed: UInt64(seed), tracksDirtyPages: true)
      mapClean(kernel)
      let entry = kernel.entry(page)
      try kernel.simulation.onCPU(storing) { try $0.store(UInt64(1), to: page) }
      order(kernel)
      let found = (0..<loads).map { _ in kernel.machine.readEntry(at: entry).isDirty }
      if found.contains(false) { unseen += 1 }
      if let first = found.firstIndex(of: true) {
        #expect(found[first...].allSatisfy { $0 }, "what was seen dirty stays so, seed \(seed)")
      }
      #expect(kernel.simulation.brokenRules == [])
    }
    return unseen
  }

  @Test
  func `A CPU sees its own update of an entry after a barrier for loads and stores, and after no other`() throws
  {
    #expect((1..<40).contains(try unseen(by: 0, then: { _ in })))
    #expect((1..<40).contains(try unseen(by: 0, then: { $0.machine.publishEntries() }, loads: 8)))
    #expect(try unseen(by: 0, then: { $0.machine.completeAccesses() }) == 0)
  }

  @Test
  func `It sees another CPU's update after that CPU's barrier: neither a lock nor its own barrier orders it`()
    throws
  {
    let lock = UnsafeMutablePointer<SpinLock>.allocate(capacity: 1)
    lock.initialize(to: SpinLock())
    defer { lock.deallocate() }
    func passLock(_ machine: Simulated) { machine.unlock(lock, restoring: machine.lock(lock)) }
    let late = try unseen(by: 1) { kernel in
      kernel.simulation.onCPU(1) { passLock($0) }
      passLock(kernel.machine)
      kernel.machine.completeAccesses()
    }
    #expect((1..<40).contains(late))
    let stores = try unseen(by: 1) { kernel in kernel.simulation.onCPU(1) { $0.publishEntries() } }
    #expect((1..<40).contains(stores))
    #expect(try unseen(by: 1) { kernel in kernel.simulation.onCPU(1) { $0.completeAccesses() } } == 0)
  }

  @Test func `Of several CPUs that store to a page, one barrier is enough`() throws {
    let seen = try unseen(by: 1) { kernel in
      try? kernel.machine.store(UInt64(2), to: page)
      kernel.machine.completeAccesses()
    }
    #expect(seen == 0)
  }
}
