// The smallest kernel on the machine: frames in ascending order, and page tables built by the book.

import KernelMachine
import SimulatedMachine

/// Maps single pages by the book; each step that a test wants to leave out is a step of its own.
final class SmallKernel {
  let simulation: Simulation
  let machine: Simulated
  var nextFrame: UInt

  /// An address in the vmalloc area of a 39-bit kernel.
  static let vmalloc = VirtualAddress(0xffff_ff80_0800_0000)

  init(
    memoryBytes: Int = 1 << 20, cpuCount: Int = 1, seed: UInt64 = 1, virtualAddressBits: Int = 39,
    tracksDirtyPages: Bool = false, updatesAccessFlags: Bool = false
  ) throws {
    simulation = try Simulation(
      SimulationConfiguration(
        memory: [MemoryBank(start: PhysicalAddress(1 << 30), byteCount: memoryBytes)], cpuCount: cpuCount,
        seed: seed, virtualAddressBits: virtualAddressBits, tracksDirtyPages: tracksDirtyPages,
        updatesAccessFlags: updatesAccessFlags))
    machine = simulation.machine
    nextFrame = simulation.memoryBanks[0].firstFrame.number
  }

  /// A frame that has never been used.
  func frame(cleared: Bool = true) -> PageFrame {
    let frame = PageFrame(nextFrame)
    nextFrame += 1
    if cleared { machine.clear(machine.linearAddress(of: frame), byteCount: pageSize) }
    return frame
  }

  var rootLevel: Int { machine.virtualAddressBits == 39 ? 1 : 0 }

  /// The physical address of the entry of a level for an address; builds and publishes the tables above it.
  func entry(
    _ address: VirtualAddress, level: Int = 3, root: PhysicalAddress? = nil
  ) -> PhysicalAddress {
    var table = root ?? machine.kernelRoot
    for upper in rootLevel..<level {
      let slot = table + index(address, upper) * 8
      var descriptor = machine.readEntry(at: slot)
      if !descriptor.isValid {
        descriptor = .table(frame())
        machine.publishEntries()
        machine.writeEntry(descriptor, at: slot)
        machine.publishEntries()
      }
      table = descriptor.frame.physicalAddress
    }
    return table + index(address, level) * 8
  }

  func index(_ address: VirtualAddress, _ level: Int) -> Int {
    Int(address.rawValue >> UInt(39 - 9 * level) & 511)
  }

  /// Writes the entry that maps a page, without publishing it.
  func write(_ entry: PageTableEntry, at address: VirtualAddress, root: PhysicalAddress? = nil) {
    machine.writeEntry(entry, at: self.entry(address, root: root))
  }

  /// Maps a page by the book.
  func map(
    _ frame: PageFrame, at address: VirtualAddress, _ permissions: PagePermissions = .kernelReadWrite,
    root: PhysicalAddress? = nil
  ) {
    write(.page(frame, permissions), at: address, root: root)
    machine.publishEntries()
  }

  /// Makes a mapping invalid and remembers its frame in the entry.
  func retire(_ address: VirtualAddress, root: PhysicalAddress? = nil) {
    let slot = entry(address, root: root)
    machine.writeEntry(machine.readEntry(at: slot).retired, at: slot)
  }

  /// Drops the translations of one page.
  func invalidate(
    _ address: VirtualAddress, in space: AddressSpaceID = .kernel, scope: InvalidationScope = .leaves
  ) {
    machine.invalidate(VirtualAddressRange(address.pageBase, byteCount: pageSize), in: space, scope: scope)
  }
}

extension Simulation {
  /// The rules that were broken, in order.
  var brokenRules: [Violation.Rule] { violations.map(\.rule) }
}
