// The system registers of the machine that executes boot code, and the accesses that are allowed in each state.

typealias Known = SystemRegister

extension SystemRegister {
  static let currentEL = Self(3, 0, 4, 2, 2)
  static let spEL0 = Self(3, 0, 4, 1, 0)
  static let sctlr = Self(3, 0, 1, 0, 0)
  static let sctlrByVHE = Self(3, 5, 1, 0, 0)
  static let cpacr = Self(3, 0, 1, 0, 2)
  static let ttbr0 = Self(3, 0, 2, 0, 0)
  static let ttbr1 = Self(3, 0, 2, 0, 1)
  static let tcr = Self(3, 0, 2, 0, 2)
  static let mair = Self(3, 0, 10, 2, 0)
  static let vbar = Self(3, 0, 12, 0, 0)
  static let tpidr = Self(3, 0, 13, 0, 4)
  static let tpidrro = Self(3, 3, 13, 0, 3)
  static let midr = Self(3, 0, 0, 0, 0)
  static let mpidr = Self(3, 0, 0, 0, 5)
  static let mmfr0 = Self(3, 0, 0, 7, 0)
  static let mmfr1 = Self(3, 0, 0, 7, 1)
  static let mmfr4 = Self(3, 0, 0, 7, 4)
  static let pfr0 = Self(3, 0, 0, 4, 0)
  static let activityMonitors = Self(3, 3, 13, 2, 3)
  static let dfr0 = Self(3, 0, 0, 5, 0)
  static let ctr = Self(3, 3, 0, 0, 1)
  static let pmcr = Self(3, 3, 9, 12, 0)
  static let hcr = Self(3, 4, 1, 1, 0)
  static let mdcr = Self(3, 4, 1, 1, 1)
  static let cptr = Self(3, 4, 1, 1, 2)
  static let hcrx = Self(3, 4, 1, 2, 2)
  static let iccSRE = Self(3, 4, 12, 9, 5)
  static let ichHCR = Self(3, 4, 12, 11, 0)
  static let vttbr = Self(3, 4, 2, 1, 0)
  static let spsr2 = Self(3, 4, 4, 0, 0)
  static let elr2 = Self(3, 4, 4, 0, 1)
  static let cnthctl = Self(3, 4, 14, 1, 0)
  static let cntvoff = Self(3, 4, 14, 0, 3)
  static let vpidr = Self(3, 4, 0, 0, 0)
  static let vmpidr = Self(3, 4, 0, 0, 5)
  static let fineGrainedTraps: Set<Self> = [
    Self(3, 4, 1, 1, 4), Self(3, 4, 1, 1, 5), Self(3, 4, 1, 1, 6), Self(3, 4, 3, 1, 4), Self(3, 4, 3, 1, 5),
  ]

  /// PMCR_EL0 to PMOVSSET_EL0, the event counters and their types.
  var isOfCounters: Bool {
    op0 == 3 && (op1 == 3 || op1 == 0) && (crn == 9 && (12...14).contains(crm) || crn == 14 && crm >= 8)
  }
  var isOfEL2: Bool { op0 == 3 && op1 == 4 }
}

extension BootMachine {
  private var hasVHEFormat: Bool { cpu.hasOnlyVHE || registers[.hcr, default: 0] >> 34 & 1 == 1 }

  // Registers with an ID of their own, and those whose meaning HCR_EL2 decides.
  private func check(_ register: SystemRegister, pc: UInt64) throws(BootFault) {
    let hasCounters = (1...14).contains(cpu.counterVersion)
    if register.isOfCounters, !hasCounters { throw .undefined(register, at: pc) }
    if Known.fineGrainedTraps.contains(register), cpu.fineGrainedTraps == 0 {
      throw .undefined(register, at: pc)
    }
    if register == .activityMonitors, cpu.activityMonitors == 0 { throw .undefined(register, at: pc) }
    if register == .hcrx, cpu.extendedConfiguration == 0 { throw .undefined(register, at: pc) }
    if register == .iccSRE || register == .ichHCR, cpu.interruptRegisters == 0 {
      throw .undefined(register, at: pc)
    }
    if register == .ichHCR, registers[.iccSRE, default: 0] & 1 == 0 || !cpu.hasNewController {
      throw .undefined(register, at: pc)
    }
    if register.isOfEL2 || register == .sctlrByVHE, exceptionLevel != 2 { throw .undefined(register, at: pc) }
    if register == .sctlrByVHE, !hasVHEFormat { throw .undefined(register, at: pc) }
    if hasPendingConfiguration, exceptionLevel == 2, register != .hcr {
      throw .rule("\(register) is accessed before HCR_EL2 takes effect", at: pc)
    }
  }

  mutating func read(_ register: SystemRegister, pc: UInt64) throws(BootFault) -> UInt64 {
    try check(register, pc: pc)
    switch register {
    case .currentEL: return exceptionLevel << 2
    case .spEL0: return stackPointers[0]
    case .mmfr0:
      return cpu.physicalRange | cpu.asidBits << 4 | cpu.granule4 << 28 | cpu.fineGrainedTraps << 56
    case .mmfr1: return cpu.extendedConfiguration << 40
    case .mmfr4: return cpu.hasOnlyVHE && cpu.tellsThatItHasOnlyVHE ? 0xf << 24 : 0
    case .pfr0: return cpu.activityMonitors << 44 | cpu.interruptRegisters << 24
    case .iccSRE: return cpu.hasNewController ? registers[.iccSRE, default: 0] : 0
    case .dfr0: return cpu.counterVersion << 8
    case .ctr: return 4 << 16
    case .pmcr: return 6 << 11
    case .midr: return 0x410f_d083
    case .mpidr: return 0x8000_0000
    case .hcr: return registers[.hcr]! | (cpu.hasOnlyVHE ? 1 << 34 : 0)
    case .tcr, .ttbr0, .ttbr1, .sctlr: return registers[register, default: 0]
    default: throw .undefined(register, at: pc)
    }
  }

  mutating func write(_ value: UInt64, to register: SystemRegister, pc: UInt64) throws(BootFault) {
    try check(register, pc: pc)
    // With the format of FEAT_VHE, the name of EL1's register means EL2's.
    if register == .sctlr, exceptionLevel == 2, hasVHEFormat {
      throw .rule("SCTLR_EL1 is SCTLR_EL2 here", at: pc)
    }
    if register == .spEL0 {
      stackPointers[0] = value
    } else {
      registers[register == .sctlrByVHE ? .sctlr : register] = value
    }
    switch register {
    case .hcr: hasPendingConfiguration = true
    case .vbar:
      // From here on an exception finds its CPU, its task and a stack.
      guard registers[.tpidrro]! < 8, registers[.tpidr] != nil, stackPointers[1] >> 39 == 0x1ff_ffff else {
        throw .rule("VBAR_EL1 is set before what exceptions need", at: pc)
      }
    case .ttbr0, .ttbr1, .tcr, .sctlr: try noteTranslation(pc: pc)
    default: break
    }
  }

  mutating func synchronize() { hasPendingConfiguration = false }

  mutating func maintain(_ operation: SystemRegister, pc: UInt64) throws(BootFault) {
    // TLBI VMALLE1: only translations that may be walked at once are cached.
    if operation == SystemRegister(1, 0, 8, 7, 0) {
      cached = [:]
      try noteTranslation(pc: pc)
    }
  }

  mutating func returnFromException(pc: UInt64) throws(BootFault) -> UInt64 {
    guard exceptionLevel == 2, registers[.spsr2] == 0x3c5, let target = registers[.elr2] else {
      throw .rule("ERET without a place to return to", at: pc)
    }
    exceptionLevel = 1
    hasPendingConfiguration = false
    return target
  }

  /// Records that the translations of each half may be cached from here on.
  ///
  /// Together with another root or size of the same half that is a violation, unless one of the two maps no page.
  ///
  /// Source: Arm Architecture Reference Manual (DDI 0487), D8.16.1 "Using break-before-make when updating translation table
  /// entries".
  private mutating func noteTranslation(pc: UInt64) throws(BootFault) {
    guard isMMUOn else { return }
    for half in 0...1 as ClosedRange<UInt64> {
      let size = registers[.tcr, default: 0] >> (half * 16) & 63
      let root = registers[half == 1 ? .ttbr1 : .ttbr0, default: 0] & 0xffff_ffff_f000
      guard (0..<512).contains(where: { self[physical: root + $0 * 8] & 1 == 1 }) else { continue }
      cached[[half], default: []].insert(root | size)
      if cached[[half]]!.count > 1 { throw .breakBeforeMake(at: pc) }
    }
  }
}
