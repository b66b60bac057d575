// An interpreter of the instructions in boot code, one by one, on a machine that forgives less than QEMU does.
//
// Source: Arm Architecture Reference Manual (DDI 0487), C4.1 "A64 instruction set encoding", C6.2.

/// The reason why boot code cannot continue.
enum BootFault: Error, Equatable {
  /// An unknown instruction at an address.
  case unknown(UInt32, at: UInt64)
  /// An access to a register that the CPU does not have in this state, or that has another meaning in it.
  case undefined(SystemRegister, at: UInt64)
  /// An access that is not translated, or not allowed.
  case abort(UInt64, at: UInt64)
  /// A change of an address's translation while the old one may be cached.
  case breakBeforeMake(at: UInt64)
  /// A rule of boot code is broken.
  case rule(String, at: UInt64)
  /// Boot code does not come to an end.
  case endless
}

/// The machine below the interpreter.
protocol A64Machine {
  func fetch(_ address: UInt64) throws(BootFault) -> UInt32
  func load(_ address: UInt64, byteCount: Int, pc: UInt64) throws(BootFault) -> UInt64
  mutating func store(_ value: UInt64, to address: UInt64, byteCount: Int, pc: UInt64) throws(BootFault)
  mutating func read(_ register: SystemRegister, pc: UInt64) throws(BootFault) -> UInt64
  mutating func write(_ value: UInt64, to register: SystemRegister, pc: UInt64) throws(BootFault)
  /// A SYS instruction without effect on registers: cache and TLB maintenance.
  mutating func maintain(_ operation: SystemRegister, pc: UInt64) throws(BootFault)
  mutating func synchronize()
  /// Returns from an exception; the result is the address in ELR.
  mutating func returnFromException(pc: UInt64) throws(BootFault) -> UInt64
  mutating func select(stackPointer: UInt64)
  var stackPointer: UInt64 { get set }
}

/// A system register, or a SYS operation, by the fields of its encoding.
struct SystemRegister: Hashable, CustomStringConvertible {
  var op0: UInt32
  var op1: UInt32
  var crn: UInt32
  var crm: UInt32
  var op2: UInt32

  init(_ op0: UInt32, _ op1: UInt32, _ crn: UInt32, _ crm: UInt32, _ op2: UInt32) {
    (self.op0, self.op1, self.crn, self.crm, self.op2) = (op0, op1, crn, crm, op2)
  }

  init(word: UInt32) {
    self.init(word >> 19 & 3, word >> 16 & 7, word >> 12 & 15, word >> 8 & 15, word >> 5 & 7)
  }

  var description: String { "S\(op0)_\(op1)_C\(crn)_C\(crm)_\(op2)" }
}

/// A CPU that executes boot code.
struct A64Interpreter<Machine: A64Machine> {
  var machine: Machine
  var pc: UInt64
  private var x = [UInt64](repeating: 0, count: 31)
  private var flags: (n: Bool, z: Bool, c: Bool, v: Bool) = (false, false, false, false)

  init(_ machine: Machine, startingAt pc: UInt64) {
    self.machine = machine
    self.pc = pc
  }

  /// A register; 31 is zero.
  subscript(_ index: UInt32) -> UInt64 {
    get { index == 31 ? 0 : x[Int(index)] }
    set { if index != 31 { x[Int(index)] = newValue } }
  }

  /// Executes until an instruction is about to be executed for which `isEnd` holds.
  mutating func run(until isEnd: (UInt64, UInt32) -> Bool) throws(BootFault) {
    for _ in 0..<20_000_000 {
      let word = try machine.fetch(pc)
      if isEnd(pc, word) { return }
      try execute(word)
    }
    throw .endless
  }

  private func sp(_ index: UInt32) -> UInt64 { index == 31 ? machine.stackPointer : x[Int(index)] }

  private mutating func setSP(_ index: UInt32, _ value: UInt64) {
    if index == 31 { machine.stackPointer = value } else { x[Int(index)] = value }
  }

  private mutating func execute(_ word: UInt32) throws(BootFault) {
    let next = pc &+ 4
    let (rd, rn, rm) = (word & 31, word >> 5 & 31, word >> 16 & 31)
    let isWide = word >> 31 == 1
    func offset(_ bits: UInt32, _ shift: UInt32) -> UInt64 {
      let value = Int64(bitPattern: UInt64(word >> shift) << UInt64(64 - bits)) >> Int64(64 - bits)
      return UInt64(bitPattern: value) &<< 2
    }
    func narrowed(_ value: UInt64) -> UInt64 { isWide ? value : value & 0xffff_ffff }

    switch word {
    case let w where w & 0xfc00_0000 == 0x1400_0000: pc = pc &+ offset(26, 0)  // B
    case let w where w & 0xfc00_0000 == 0x9400_0000:  // BL
      self[30] = next
      pc = pc &+ offset(26, 0)
    case let w where w & 0xff00_0010 == 0x5400_0000:  // B.cond
      pc = holds(w & 15) ? pc &+ offset(19, 5) : next
    case let w where w & 0x7e00_0000 == 0x3400_0000:  // CBZ, CBNZ
      let isZero = narrowed(self[rd]) == 0
      pc = isZero == (w >> 24 & 1 == 0) ? pc &+ offset(19, 5) : next
    case let w where w & 0x7e00_0000 == 0x3600_0000:  // TBZ, TBNZ
      let bit = UInt64((w >> 31) << 5 | w >> 19 & 31)
      pc = self[rd] >> bit & 1 == UInt64(w >> 24 & 1) ? pc &+ offset(14, 5) : next
    case let w where w & 0xffff_fc1f == 0xd61f_0000, let w where w & 0xffff_fc1f == 0xd65f_0000:  // BR, RET
      _ = w
      pc = self[rn]
    case 0xd69f_03e0: pc = try machine.returnFromException(pc: pc)  // ERET
    case let w where w & 0x9f00_0000 == 0x1000_0000 || w & 0x9f00_0000 == 0x9000_0000:  // ADR, ADRP
      let isPage = isWide
      let immediate =
        UInt64(bitPattern: Int64(Int32(bitPattern: (w >> 5 & 0x7_ffff) << 13)) >> 11) | UInt64(w >> 29 & 3)
      self[rd] = isPage ? (pc & ~4095) &+ immediate &<< 12 : pc &+ immediate
      pc = next
    case let w
    where w & 0x7f80_0000 == 0x5280_0000 || w & 0x7f80_0000 == 0x1280_0000 || w & 0x7f80_0000 == 0x7280_0000:
      // MOVZ, MOVN, MOVK
      let shift = UInt64(w >> 21 & 3) * 16
      let value = UInt64(w >> 5 & 0xffff) << shift
      switch w >> 29 & 3 {
      case 0: self[rd] = narrowed(~value)
      case 2: self[rd] = value
      default: self[rd] = self[rd] & ~(0xffff << shift) | value
      }
      pc = next
    case let w where w & 0x1f80_0000 == 0x1200_0000:  // AND, ORR, EOR, ANDS with an immediate
      let mask = Self.bitMask(w)
      let value = logical(w >> 29 & 3, self[rn], mask, isWide)
      if w >> 29 & 3 == 3 { self[rd] = value } else { setSP(rd, value) }
      pc = next
    case let w where w & 0x1f00_0000 == 0x0a00_0000:  // AND, BIC, ORR, ORN, … of registers
      var operand = shifted(self[rm], w >> 22 & 3, UInt64(w >> 10 & 63))
      if w >> 21 & 1 == 1 { operand = ~operand }
      self[rd] = logical(w >> 29 & 3, self[rn], operand, isWide)
      pc = next
    case let w where w & 0x1f80_0000 == 0x1100_0000:  // ADD, SUB, ADDS, SUBS with an immediate
      let immediate = UInt64(w >> 10 & 0xfff) << (w >> 22 & 1 == 1 ? 12 : 0)
      let value = sum(w, sp(rn), immediate, isWide)
      if w >> 29 & 1 == 1 { self[rd] = value } else { setSP(rd, value) }
      pc = next
    case let w where w & 0x1f20_0000 == 0x0b00_0000:  // ADD, SUB, ADDS, SUBS of registers
      self[rd] = sum(w, self[rn], shifted(self[rm], w >> 22 & 3, UInt64(w >> 10 & 63)), isWide)
      pc = next
    case let w where w & 0x7f80_0000 == 0x5300_0000 || w & 0x7f80_0000 == 0x3300_0000:  // UBFM, BFM
      let (rotation, last) = (UInt64(w >> 16 & 63), UInt64(w >> 10 & 63))
      let isInsert = w & 0x7f80_0000 == 0x3300_0000
      if last >= rotation {
        let mask: UInt64 = last - rotation == 63 ? .max : 1 << (last - rotation + 1) - 1
        let field = self[rn] >> rotation & mask
        self[rd] = narrowed(isInsert ? self[rd] & ~mask | field : field)
      } else {
        let mask: UInt64 = 1 << (last + 1) - 1
        let shift = (isWide ? 64 : 32) - rotation
        let field = (self[rn] & mask) << shift
        self[rd] = narrowed(isInsert ? self[rd] & ~(mask << shift) | field : field)
      }
      pc = next
    case let w where w & 0x7fe0_fc00 == 0x1ac0_2000:  // LSL by a register
      self[rd] = narrowed(self[rn] << (self[rm] & (isWide ? 63 : 31)))
      pc = next
    case let w where w & 0x7fe0_fc00 == 0x1ac0_2400:  // LSR by a register
      self[rd] = narrowed(self[rn]) >> (self[rm] & (isWide ? 63 : 31))
      pc = next
    case let w where w & 0x7fe0_0c00 == 0x1a80_0000:  // CSEL
      self[rd] = narrowed(holds(w >> 12 & 15) ? self[rn] : self[rm])
      pc = next
    case let w where w & 0xbf00_0000 == 0x1800_0000:  // LDR of a literal
      self[rd] = try machine.load(pc &+ offset(19, 5), byteCount: w >> 30 == 1 ? 8 : 4, pc: pc)
      pc = next
    case let w where w & 0xffc0_0000 == 0xf940_0000 || w & 0xffc0_0000 == 0xf900_0000:  // LDR, STR + offset
      try access(w, sp(rn) &+ UInt64(w >> 10 & 0xfff) << 3, w >> 22 & 1 == 1)
      pc = next
    case let w where w & 0xffe0_0c00 == 0xf800_0400:  // STR, post-indexed
      try access(w, sp(rn), false)
      setSP(rn, sp(rn) &+ UInt64(bitPattern: Int64(Int32(bitPattern: (w >> 12 & 0x1ff) << 23) >> 23)))
      pc = next
    case let w where w & 0xffe0_fc00 == 0xf820_7800:  // STR + register, LSL #3
      try access(w, sp(rn) &+ self[rm] << 3, false)
      pc = next
    case let w where w & 0xfe00_0000 == 0xa800_0000 && w >> 23 & 3 != 0:  // STP, LDP
      let immediate = UInt64(bitPattern: Int64(Int32(bitPattern: (w >> 15 & 127) << 25) >> 25)) &<< 3
      let mode = w >> 23 & 3
      let address = sp(rn) &+ (mode == 1 ? 0 : immediate)
      try access(w, address, w >> 22 & 1 == 1)
      try access(w >> 10 & 31, address &+ 8, w >> 22 & 1 == 1)
      if mode != 2 { setSP(rn, sp(rn) &+ immediate) }
      pc = next
    case let w where w & 0xfff0_0000 == 0xd530_0000:  // MRS
      self[rd] = try machine.read(SystemRegister(word: w), pc: pc)
      pc = next
    case let w where w & 0xfff0_0000 == 0xd510_0000:  // MSR
      try machine.write(self[rd], to: SystemRegister(word: w), pc: pc)
      pc = next
    case let w where w & 0xfff8_0000 == 0xd508_0000:  // SYS
      try machine.maintain(SystemRegister(word: w), pc: pc)
      pc = next
    case let w where w & 0xffff_f0ff == 0xd500_40bf:  // MSR SPSel
      machine.select(stackPointer: UInt64(w >> 8 & 1))
      pc = next
    case let w where w & 0xffff_f0ff == 0xd503_40df: pc = next  // MSR DAIFSet
    case 0xd503_3fdf:  // ISB
      machine.synchronize()
      pc = next
    case let w where w & 0xffff_f0ff == 0xd503_309f: pc = next  // DSB
    case 0xd503_201f: pc = next
    default: throw .unknown(word, at: pc)
    }
  }

  private mutating func access(_ word: UInt32, _ address: UInt64, _ isLoad: Bool) throws(BootFault) {
    if isLoad {
      self[word & 31] = try machine.load(address, byteCount: 8, pc: pc)
    } else {
      try machine.store(self[word & 31], to: address, byteCount: 8, pc: pc)
    }
  }

  private func holds(_ condition: UInt32) -> Bool {
    let value =
      switch condition >> 1 {
      case 0: flags.z
      case 1: flags.c
      case 2: flags.n
      case 3: flags.v
      case 4: flags.c && !flags.z
      case 5: flags.n == flags.v
      case 6: flags.n == flags.v && !flags.z
      default: true
      }
    return condition & 1 == 1 && condition != 15 ? !value : value
  }

  private func shifted(_ value: UInt64, _ kind: UInt32, _ amount: UInt64) -> UInt64 {
    kind == 0
      ? value << amount
      : kind == 1 ? value >> amount : UInt64(bitPattern: Int64(bitPattern: value) >> Int64(amount))
  }

  private mutating func logical(_ operation: UInt32, _ a: UInt64, _ b: UInt64, _ isWide: Bool) -> UInt64 {
    let value = operation == 1 ? a | b : operation == 2 ? a ^ b : a & b
    let result = isWide ? value : value & 0xffff_ffff
    if operation == 3 { flags = (result >> (isWide ? 63 : 31) == 1, result == 0, false, false) }
    return result
  }

  private mutating func sum(_ word: UInt32, _ a: UInt64, _ b: UInt64, _ isWide: Bool) -> UInt64 {
    let isDifference = word >> 30 & 1 == 1
    let bits = isWide ? 64 : 32
    let (first, second) = isWide ? (a, b) : (a & 0xffff_ffff, b & 0xffff_ffff)
    let value = isDifference ? first &- second : first &+ second
    let result = isWide ? value : value & 0xffff_ffff
    if word >> 29 & 1 == 1 {
      let sign = UInt64(bits - 1)
      let carry = isDifference ? first >= second : isWide ? value < first : value >> 32 != 0
      let other = isDifference ? ~second : second
      flags = (
        result >> sign & 1 == 1, result == 0, carry, (~(first ^ other) & (first ^ result)) >> sign & 1 == 1
      )
    }
    return result
  }

  // The immediate of a logical instruction.
  private static func bitMask(_ word: UInt32) -> UInt64 {
    let (n, rotation, size) = (word >> 22 & 1, word >> 16 & 63, word >> 10 & 63)
    let length = 31 - (n << 6 | ~size & 63).leadingZeroBitCount
    let width = UInt64(1) << UInt64(length)
    let (ones, shift) = (UInt64(size) & (width - 1), UInt64(rotation) & (width - 1))
    let element: UInt64 = ones == 63 ? .max : 1 << (ones + 1) - 1
    let mask: UInt64 = width == 64 ? .max : 1 << width - 1
    var result = (element >> shift | element << (width - shift)) & mask
    if shift == 0 { result = element }
    var filled = width
    while filled < 64 {
      result |= result << filled
      filled *= 2
    }
    return result
  }
}
