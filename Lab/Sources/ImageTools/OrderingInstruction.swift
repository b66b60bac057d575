// Instructions that order one CPU's accesses for others, decoded from machine code and from the text of litmus tests.
//
// Source: Arm Architecture Reference Manual (DDI 0487), C4.1 "A64 instruction set encoding".
//
//    31 30 29    24 23 22 21 20  16 15 14  10 9  5 4  0
//   | size| 001000 |o2| L|o1|  Rs  |o0|  Rt2 | Rn | Rt |    exclusive, acquire and release, compare and swap
//   | size| 111000 | A| R| 1|  Rs  |o3|opc|00| Rn | Rt |    atomic operations
//   | size| 011001 | opc | 0|   imm9     |00 | Rn | Rt |    acquire and release with an offset
//   | 1101 0101 0000 0011 0011 | CRm | op2 | 1 1111 |       barriers
//   | 1101 0101 0000 1 op1|CRn | CRm | op2 | Rt     |       TLB, caches

/// An instruction that orders memory accesses, or maintains TLBs and caches.
public struct OrderingInstruction: Hashable, Sendable, CustomStringConvertible {
  /// The mnemonic in small letters, without a letter for the size: `stlr`, `casal`, `dsb`, `tlbi`.
  ///
  /// An atomic operation whose result is discarded has no acquire semantics (C6.2, LDADD), and is named without.
  public var mnemonic: String
  /// The size of its access (`b`, `h`, `w`, `x`; two for pairs), or its operation: `ish`, `vale1is`.
  public var operand: String

  /// Makes an instruction.
  public init(_ mnemonic: String, _ operand: String = "") {
    self.mnemonic = mnemonic
    self.operand = operand
  }

  /// The instruction as `stlr b`, `dsb ish` or `isb`.
  public var description: String { operand.isEmpty ? mnemonic : "\(mnemonic) \(operand)" }
}

// MARK: Machine code

extension OrderingInstruction {
  /// Decodes an A64 instruction; `nil` if it orders no accesses.
  public init?(decoding word: UInt32) {
    if let access = Self.access(word) ?? Self.system(word) { self = access } else { return nil }
  }

  private static func access(_ word: UInt32) -> Self? {
    let size = ["b", "h", "w", "x"][Int(word >> 30)]
    let source = word >> 16 & 31
    let result = word & 31
    if word & 0x3f00_0000 == 0x0800_0000 {
      let isLoad = word >> 22 & 1 == 1
      let isOrdered = word >> 15 & 1 == 1
      switch word >> 21 & 5 {
      case 0: return Self(isLoad ? isOrdered ? "ldaxr" : "ldxr" : isOrdered ? "stlxr" : "stxr", size)
      case 1 where word >> 31 == 1:
        return Self(isLoad ? isOrdered ? "ldaxp" : "ldxp" : isOrdered ? "stlxp" : "stxp", size + size)
      case 1: return Self("casp" + letters(isLoad, isOrdered), word >> 30 == 1 ? "xx" : "ww")
      case 4: return Self(isLoad ? isOrdered ? "ldar" : "ldlar" : isOrdered ? "stlr" : "stllr", size)
      default: return Self("cas" + letters(isLoad, isOrdered), size)
      }
    }
    if word & 0x3f20_0c00 == 0x3820_0000 {
      let acquires = word >> 23 & 1 == 1 && result != 31
      let releases = word >> 22 & 1 == 1
      let operation = Int(word >> 12 & 7)
      if word >> 15 & 1 == 0 {
        let name = ["add", "clr", "eor", "set", "smax", "smin", "umax", "umin"][operation]
        return Self((result == 31 ? "st" : "ld") + name + letters(acquires, releases), size)
      }
      if operation == 0 { return Self("swp" + letters(acquires, releases), size) }
      return operation == 4 && source == 31 ? Self("ldapr", size) : nil
    }
    if word & 0x3f20_0c00 == 0x1900_0000 {
      return Self(word >> 22 & 3 == 0 ? "stlur" : "ldapur", size)
    }
    return nil
  }

  private static func letters(_ acquires: Bool, _ releases: Bool) -> String {
    (acquires ? "a" : "") + (releases ? "l" : "")
  }

  private static func system(_ word: UInt32) -> Self? {
    switch word {
    case 0xd503_205f: return Self("wfe")
    case 0xd503_207f: return Self("wfi")
    case 0xd503_209f: return Self("sev")
    case 0xd503_20bf: return Self("sevl")
    case 0xd69f_03e0: return Self("eret")
    default: break
    }
    let operation = word >> 5 & 7
    let cacheOrDomain = word >> 8 & 15
    if word & 0xffff_f01f == 0xd503_301f {
      switch operation {
      case 2: return Self("clrex")
      case 4: return Self("dsb", domain(cacheOrDomain))
      case 5: return Self("dmb", domain(cacheOrDomain))
      case 6: return Self("isb")
      case 7: return Self("sb")
      default: return nil
      }
    }
    // SYS with CRn 8, and with CRn 7.
    if word & 0xfff8_f000 == 0xd508_8000 {
      return Self(
        "tlbi", invalidations[word >> 5 & 0x3fff] ?? "\(word >> 16 & 7) \(cacheOrDomain) \(operation)")
    }
    if word & 0xfff8_f000 == 0xd508_7000 {
      return maintenance[word >> 5 & 0x3fff] ?? Self("sys", "\(word >> 16 & 7) 7 \(cacheOrDomain) \(operation)")
    }
    // MSR to a register.
    if word & 0xfff0_0000 == 0xd510_0000, let name = registers[word >> 5 & 0x7fff] { return Self("msr", name) }
    return nil
  }

  private static func domain(_ value: UInt32) -> String {
    let names = [
      "oshld", "oshst", "osh", "", "nshld", "nshst", "nsh", "", "ishld", "ishst", "ish", "", "ld", "st", "sy",
    ]
    return value == 0 || value % 4 == 0 ? "#\(value)" : names[Int(value) - 1]
  }

  // The key of a system instruction: op1, CRn, CRm and op2, as they lie in the word.
  private static func code(_ op1: UInt32, _ crn: UInt32, _ crm: UInt32, _ op2: UInt32) -> UInt32 {
    op1 << 11 | crn << 7 | crm << 3 | op2
  }

  private static let invalidations: [UInt32: String] = {
    var names: [UInt32: String] = [:]
    let operations: [(UInt32, String)] = [
      (0, "vmalle1"), (1, "vae1"), (2, "aside1"), (3, "vaae1"), (5, "vale1"), (7, "vaale1"),
    ]
    for (operation, name) in operations {
      names[code(0, 8, 7, operation)] = name
      names[code(0, 8, 3, operation)] = name + "is"
    }
    return names
  }()

  private static let maintenance: [UInt32: Self] = [
    code(0, 7, 1, 0): Self("ic", "ialluis"), code(0, 7, 5, 0): Self("ic", "iallu"),
    code(3, 7, 5, 1): Self("ic", "ivau"), code(0, 7, 6, 1): Self("dc", "ivac"),
    code(3, 7, 4, 1): Self("dc", "zva"),
    code(3, 7, 10, 1): Self("dc", "cvac"), code(3, 7, 11, 1): Self("dc", "cvau"),
    code(3, 7, 14, 1): Self("dc", "civac"),
  ]

  // Keyed by o0, op1, CRn, CRm and op2.
  private static let registers: [UInt32: String] = [
    1 << 14 | code(0, 1, 0, 0): "sctlr_el1", 1 << 14 | code(0, 2, 0, 0): "ttbr0_el1",
    1 << 14 | code(0, 2, 0, 1): "ttbr1_el1", 1 << 14 | code(0, 2, 0, 2): "tcr_el1",
    1 << 14 | code(4, 1, 1, 0): "hcr_el2", 1 << 14 | code(4, 2, 1, 0): "vttbr_el2",
  ]
}

// MARK: Assembly

extension OrderingInstruction {
  /// Parses an instruction in assembly, in upper or lower case; `nil` if it orders no accesses.
  public init?(assembly text: String) {
    let words = text.lowercased().split { $0 == " " || $0 == "," || $0 == "[" || $0 == "]" }.map(String.init)
    guard let name = words.first else { return nil }
    let operands = words.dropFirst()
    if Self.plain.contains(name) {
      self.init(name)
    } else if Self.withOperation.contains(name)
      || name == "msr" && Self.registers.values.contains(operands.first ?? "")
    {
      self.init(name, operands.first ?? "")
    } else if let (base, size) = Self.split(name) {
      // The status register of a store-exclusive comes first; the size is that of the last register before the bracket.
      let registers = text.lowercased().prefix { $0 != "[" }.split { $0 == " " || $0 == "," }
      let register = registers.last ?? ""
      self.init(base, size ?? (register.hasPrefix("x") ? "x" : "w"))
    } else {
      return nil
    }
  }

  private static let plain: Set<String> = ["isb", "wfe", "wfi", "sev", "sevl", "eret", "clrex", "sb"]
  private static let withOperation: Set<String> = ["dsb", "dmb", "tlbi", "ic", "dc"]

  private static let accesses: Set<String> = {
    var names: Set<String> = [
      "ldxr", "ldaxr", "stxr", "stlxr", "ldar", "ldlar", "stlr", "stllr", "ldapr", "ldapur", "stlur",
    ]
    for base in ["cas", "swp"]
      + ["add", "clr", "eor", "set", "smax", "smin", "umax", "umin"].map({ "ld" + $0 })
    {
      for order in ["", "a", "l", "al"] { names.insert(base + order) }
    }
    for base in ["add", "clr", "eor", "set", "smax", "smin", "umax", "umin"] {
      names.formUnion(["st" + base, "st" + base + "l"])
    }
    return names
  }()

  private static func split(_ name: String) -> (base: String, size: String?)? {
    if accesses.contains(name) { return (name, nil) }
    guard let last = name.last, last == "b" || last == "h", accesses.contains(String(name.dropLast())) else {
      return nil
    }
    return (String(name.dropLast()), String(last))
  }
}

// MARK: Order

extension OrderingInstruction {
  /// The instruction without its size.
  public var withoutSize: String {
    Self.withOperation.contains(mnemonic) || mnemonic == "msr" ? description : mnemonic
  }

  /// Whether it loads and stores in one instruction (FEAT_LSE).
  public var isAtomicOperation: Bool {
    ["cas", "swp"].contains { mnemonic.hasPrefix($0) }
      || ["add", "clr", "eor", "set", "smax", "smin", "umax", "umin"].contains {
        mnemonic.dropFirst(2).hasPrefix($0)
      }
  }

  /// The order of an atomic operation: empty, `a`, `l` or `al`.
  public var order: String {
    guard isAtomicOperation else { return "" }
    let bases = ["casp", "cas", "swp", "smax", "smin", "umax", "umin", "add", "clr", "eor", "set"]
    let rest = mnemonic.hasPrefix("ld") || mnemonic.hasPrefix("st") ? mnemonic.dropFirst(2) : mnemonic[...]
    let base = bases.first { rest.hasPrefix($0) } ?? ""
    return String(rest.dropFirst(base.count))
  }
}
