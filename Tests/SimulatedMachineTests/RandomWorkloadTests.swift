// Long random runs: a kernel that keeps the TLB rule causes no violation; every planted mistake is found.

import KernelMachine
import SeededRandom
import SimulatedMachine
import Testing

/// Maps and unmaps pages at random, with batched invalidations; a mistake can be planted.
private struct RandomMapper {
  enum Mistake: CaseIterable {
    case none, noInvalidation, invalidatesTooLittle, noPublication, keepsTableEntries
  }

  let kernel: SmallKernel
  let mistake: Mistake
  var random: SplitMix64
  var freeFrames: [PageFrame] = []
  var mapped: [Int: PageFrame] = [:]
  var retired: [Int: PageFrame] = [:]
  let pageCount = 64

  init(seed: UInt64, mistake: Mistake) throws {
    kernel = try SmallKernel(cpuCount: 2, seed: seed)
    self.mistake = mistake
    random = SplitMix64(seed: seed)
    for _ in 0..<32 { freeFrames.append(kernel.frame()) }
    kernel.machine.publishEntries()
  }

  /// The pages lie in two 2 MiB regions, so that there are two tables to give back.
  func address(_ page: Int) -> VirtualAddress {
    SmallKernel.vmalloc + (page % 2) * (2 << 20) + page / 2 * pageSize
  }

  mutating func step() throws {
    let page = random.next(below: pageCount)
    switch random.next(below: 8) {
    case 0...3:
      guard mapped[page] == nil, retired[page] == nil, let frame = freeFrames.popLast() else { return }
      kernel.write(.page(frame, .kernelReadWrite), at: address(page))
      if mistake != .noPublication { kernel.machine.publishEntries() }
      mapped[page] = frame
      try kernel.machine.store(UInt64(page), to: address(page))
    case 4, 5:
      guard let frame = mapped.removeValue(forKey: page) else { return }
      let value = try kernel.machine.load(address(page))
      if mistake == .none { #expect(value == UInt64(page)) }
      kernel.retire(address(page))
      retired[page] = frame
    case 6:
      flush()
    default:
      if random.next(below: 16) == 0 { giveBackTables() }
    }
  }

  mutating func flush() {
    let pages = retired.keys.sorted { address($0) < address($1) }
    guard let first = pages.first, let last = pages.last else { return }
    switch mistake {
    case .noInvalidation: kernel.machine.publishEntries()
    case .invalidatesTooLittle:
      kernel.machine.invalidate(
        VirtualAddressRange(address(first), address(last)), in: .kernel, scope: .leaves)
    default:
      kernel.machine.invalidate(
        VirtualAddressRange(address(first), address(last) + pageSize), in: .kernel, scope: .leaves)
    }
    for page in pages {
      kernel.machine.writeEntry(.empty, at: kernel.entry(address(page)))
      freeFrames.append(retired.removeValue(forKey: page)!)
    }
    let count = freeFrames.count
    freeFrames.swapAt(count - 1, random.next(below: count))
  }

  mutating func giveBackTables() {
    flush()
    guard mapped.isEmpty || mapped.keys.allSatisfy({ $0 % 2 == 1 }) else { return }
    let slot = kernel.entry(address(0), level: 2)
    let descriptor = kernel.machine.readEntry(at: slot)
    guard descriptor.isValid else { return }
    kernel.machine.writeEntry(descriptor.retired, at: slot)
    kernel.machine.invalidate(
      VirtualAddressRange(address(0), byteCount: 2 << 20), in: .kernel,
      scope: mistake == .keepsTableEntries ? .leaves : .tablesAndLeaves)
    kernel.machine.writeEntry(.empty, at: slot)
    kernel.machine.clear(kernel.machine.linearAddress(of: descriptor.frame), byteCount: pageSize)
    kernel.machine.publishEntries()
    freeFrames.append(descriptor.frame)
  }

  mutating func run() throws -> [Violation] {
    for _ in 0..<400 {
      do { try step() } catch is SimulatedFault {}
    }
    // Retires all pages, so that every run gives a table back.
    for (page, frame) in mapped {
      kernel.retire(address(page))
      retired[page] = frame
    }
    mapped = [:]
    giveBackTables()
    return kernel.simulation.violations
  }
}

@Suite struct RandomWorkloadTests {
  @Test(arguments: 1...20 as ClosedRange<UInt64>) func `Correct code is never blamed`(seed: UInt64) throws {
    var mapper = try RandomMapper(seed: seed, mistake: .none)
    let violations = try mapper.run()
    #expect(violations.isEmpty, "seed \(seed)")
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>) func `Every mistake is caught`(seed: UInt64) throws {
    for mistake in RandomMapper.Mistake.allCases where mistake != .none {
      var mapper = try RandomMapper(seed: seed, mistake: mistake)
      let violations = try mapper.run()
      #expect(!violations.isEmpty, "seed \(seed), \(mistake)")
    }
  }
}
