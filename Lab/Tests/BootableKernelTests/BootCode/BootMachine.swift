// A machine that executes boot code: an image somewhere in physical memory, system registers of a chosen CPU, and an MMU
// that walks the tables that the code has built. It tracks the translations that a CPU may have cached.

import Foundation
import ImageTools

/// The features of a CPU, and the exception level at which it starts.
struct BootCPU {
  /// Whether the boot loader starts the kernel at EL2.
  var startsAtEL2 = false
  /// Whether EL2 has the format of FEAT_VHE only, and whether ID_AA64MMFR4_EL1 says so.
  var hasOnlyVHE = false
  var tellsThatItHasOnlyVHE = false
  /// ID_AA64DFR0_EL1.PMUVer.
  var counterVersion: UInt64 = 4
  /// ID_AA64MMFR0_EL1.PARange, ASIDBits, TGran4, FGT.
  var physicalRange: UInt64 = 5
  var asidBits: UInt64 = 2
  var granule4: UInt64 = 0
  var fineGrainedTraps: UInt64 = 0
  /// ID_AA64PFR0_EL1.AMU.
  var activityMonitors: UInt64 = 0
  /// ID_AA64MMFR1_EL1.HCX.
  var extendedConfiguration: UInt64 = 0
  /// ID_AA64PFR0_EL1.GIC.
  var interruptRegisters: UInt64 = 0
  /// Whether the interrupt controller can be used by system registers: ICC_SRE_EL2.SRE can be set.
  var hasNewController = true
}

/// A page or block that tables map.
struct MappedRange: Equatable {
  var virtual: UInt64
  var physical: UInt64
  var byteCount: UInt64
  var attributes: UInt64
}

/// The machine.
struct BootMachine: A64Machine {
  /// The link address of the image, and its physical address.
  static let linkBase: UInt64 = 0xffff_ff80_0000_0000
  let physicalBase: UInt64
  let cpu: BootCPU

  /// The words of the image, from the lowest; there is no other memory.
  var memory: [UInt64]
  private let lowest: UInt64
  var registers: [SystemRegister: UInt64] = [:]
  var exceptionLevel: UInt64
  /// HCR_EL2 has been written, and no context synchronization has come after it.
  var hasPendingConfiguration = false
  var stackPointers: [UInt64] = [0, 0, 0]
  private var selected: UInt64 = 1

  /// The root tables, with the size of their halves, that translations may be cached of.
  var cached: [[UInt64]: Set<UInt64>] = [:]

  init(_ elf: ElfFile, at physicalBase: UInt64, _ cpu: BootCPU) {
    self.physicalBase = physicalBase
    self.cpu = cpu
    exceptionLevel = cpu.startsAtEL2 ? 2 : 1
    let segments = elf.segments.filter(\.isLoadable)
    let start = segments.map(\.virtualAddress).min()! & ~4095
    let end = segments.map { $0.virtualAddress + UInt64($0.memoryByteCount) }.max()!
    lowest = start &- Self.linkBase &+ physicalBase
    // Memory that is not in the file is not zero before boot code clears it.
    var bytes = [UInt8](repeating: 0xa5, count: Int((end - start + 4095) & ~4095))
    for segment in segments {
      let contents = elf.contents(of: segment)
      let place = Int(segment.virtualAddress - start)
      bytes.replaceSubrange(place..<place + contents.count, with: contents)
    }
    memory = bytes.withUnsafeBytes { Array($0.bindMemory(to: UInt64.self)).map(UInt64.init(littleEndian:)) }
    for register in [Known.hcr, .vttbr, .sctlr, .cptr, .mdcr, .tpidrro, .vbar] {
      registers[register] = 0xdead_0000
    }
    registers[.sctlr] = 0
    if cpu.hasOnlyVHE { registers[.hcr] = 1 << 34 }
  }

  /// The physical address of something in the image.
  func physical(_ linked: UInt64) -> UInt64 { linked &- Self.linkBase &+ physicalBase }

  private func index(_ address: UInt64) -> Int? {
    let offset = address &- lowest
    return offset < UInt64(memory.count) * 8 ? Int(offset >> 3) : nil
  }

  /// A word of physical memory; where there is none, 0.
  subscript(physical address: UInt64) -> UInt64 {
    get { index(address).map { memory[$0] } ?? 0 }
    set { memory[index(address)!] = newValue }
  }

  var stackPointer: UInt64 {
    get { stackPointers[selected == 0 ? 0 : Int(exceptionLevel)] }
    set { stackPointers[selected == 0 ? 0 : Int(exceptionLevel)] = newValue }
  }

  mutating func select(stackPointer: UInt64) { selected = stackPointer }

  // MARK: Memory

  var isMMUOn: Bool { registers[.sctlr]! & 1 == 1 }

  func fetch(_ address: UInt64) throws(BootFault) -> UInt32 {
    let place = try translate(address, pc: address)
    guard place.attributes & 1 << 53 == 0 else { throw .abort(address, at: address) }
    return UInt32(truncatingIfNeeded: self[physical: place.physical & ~7] >> ((place.physical & 4) * 8))
  }

  func load(_ address: UInt64, byteCount: Int, pc: UInt64) throws(BootFault) -> UInt64 {
    let place = try translate(address, pc: pc).physical
    guard index(place) != nil else { throw .abort(address, at: pc) }
    let value = self[physical: place & ~7] >> ((place & 7) * 8)
    return byteCount == 4 ? value & 0xffff_ffff : value
  }

  mutating func store(_ value: UInt64, to address: UInt64, byteCount: Int, pc: UInt64) throws(BootFault) {
    let place = try translate(address, pc: pc)
    guard place.attributes & 1 << 7 == 0, place.physical & 7 == 0, index(place.physical) != nil else {
      throw .abort(address, at: pc)
    }
    self[physical: place.physical] = value
  }

  private func translate(_ address: UInt64, pc: UInt64) throws(BootFault) -> (
    physical: UInt64, attributes: UInt64
  ) {
    guard isMMUOn else { return (address, 0) }
    let isUpper = address >> 63 == 1
    let size = registers[.tcr, default: 0] >> (isUpper ? 16 : 0) & 63
    guard (isUpper ? ~address : address) >> (64 - size) == 0 else { throw .abort(address, at: pc) }
    var table = registers[isUpper ? .ttbr1 : .ttbr0, default: 0] & 0xffff_ffff_f000
    var level = size <= 24 ? 0 : 1
    while true {
      let shift = UInt64(39 - 9 * level)
      let entry = self[physical: table + (address >> shift & 511) * 8]
      guard entry & 1 == 1 else { throw .abort(address, at: pc) }
      let output = entry & 0xffff_ffff_f000
      if level == 3 || entry & 2 == 0 { return (output | address & (1 << shift - 1), entry) }
      table = output
      level += 1
    }
  }

  /// All pages and blocks that a root maps.
  func mappings(root: UInt64, bits: UInt64, isUpper: Bool) -> [MappedRange] {
    var found: [MappedRange] = []
    func visit(_ table: UInt64, _ level: Int, _ base: UInt64) {
      let shift = UInt64(39 - 9 * level)
      for index in 0..<512 as Range<UInt64> {
        let entry = self[physical: table + index * 8]
        guard entry & 1 == 1 else { continue }
        let output = entry & 0xffff_ffff_f000
        if level < 3 && entry & 2 != 0 {
          visit(output, level + 1, base &+ index << shift)
        } else {
          found.append(
            MappedRange(
              virtual: base &+ index << shift, physical: output, byteCount: 1 << shift,
              attributes: entry & ~0xffff_ffff_f000))
        }
      }
    }
    visit(root & 0xffff_ffff_f000, bits == 48 ? 0 : 1, isUpper ? 0 &- 1 << bits : 0)
    return found
  }
}
