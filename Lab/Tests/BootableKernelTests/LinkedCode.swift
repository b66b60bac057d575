// The instructions of a linked kernel, the paths through them, and the functions that they belong to.

import Foundation
import ImageTools
import Testing

/// The verdict of an instruction about the path that it lies on.
enum Verdict { case right, wrong, goOn }

/// The instructions of a linked kernel, and those that can come before and after each.
struct Code {
  var words: [Instruction]
  private let elf: ElfFile
  private let base: UInt64
  private var origins: [Int: [Int]] = [:]

  init(of cpu: Guest.CPU) async throws {
    let path = try await KernelBuild.shared.products(for: cpu).elf
    elf = try ElfFile([UInt8](Data(contentsOf: URL(fileURLWithPath: path))))
    let section = try #require(elf.sections.filter(\.isCode).max { $0.byteCount < $1.byteCount })
    base = section.address
    let bytes = Array(elf.contents(of: section))
    words = (0..<bytes.count / 4).map { index in
      Instruction(word: (0..<4).reduce(0) { $0 | UInt32(bytes[index * 4 + $1]) << UInt32($1 * 8) })
    }
    for index in words.indices {
      guard let distance = words[index].branchDistance else { continue }
      origins[index + distance, default: []].append(index)
    }
  }

  /// The names of all symbols.
  var names: [String] { elf.symbols.map(\.name) }

  /// The place of an instruction, for a report.
  func place(_ index: Int) -> String {
    let address = base + UInt64(index) * 4
    let before = elf.symbols.filter { $0.type != 3 && $0.address <= address && !$0.name.hasPrefix("$x") }
    let symbol = before.max { $0.address < $1.address }
    return "\(String(address, radix: 16)) in \(symbol?.name ?? "?")"
  }

  /// The instructions of the functions whose names contain a text.
  func function(containing text: String) -> [Int] {
    elf.symbols.filter { $0.type == 2 && $0.name.contains(text) }.flatMap { symbol in
      let first = Int(symbol.address - base) / 4
      return Array(first..<first + symbol.byteCount / 4)
    }
  }

  /// The instructions of the function that begins at one of them; none if no function does.
  func function(at index: Int) -> [Int] {
    let address = base + UInt64(index) * 4
    guard let symbol = elf.symbols.first(where: { $0.type == 2 && $0.address == address }) else { return [] }
    return Array(index..<index + symbol.byteCount / 4)
  }

  /// All functions: symbols of code, in the order of their addresses.
  ///
  /// One that has no size, as labels in assembly have none, ends where the next begins.
  var functions: [(name: String, instructions: Range<Int>)] {
    let end = base + UInt64(words.count) * 4
    let symbols = elf.symbols.filter {
      ($0.type == 2 || $0.type == 0) && (base..<end).contains($0.address) && !$0.name.hasPrefix("$x")
        && !$0.name.hasPrefix("$d") && !$0.name.hasPrefix(".L")
    }.sorted { ($0.address, $0.name) < ($1.address, $1.name) }
    return symbols.enumerated().map { number, symbol in
      let next = symbols[number...].first { $0.address > symbol.address }?.address ?? end
      let after = symbol.byteCount > 0 ? symbol.address + UInt64(symbol.byteCount) : next
      return (symbol.name, Int(symbol.address - base) / 4..<Int(after - base) / 4)
    }
  }

  /// The instructions that can come after one in its function.
  func successors(of index: Int) -> [Int] {
    let falls = words[index].fallsThrough ? [index + 1] : []
    return falls + (words[index].branchDistance.map { [index + $0] } ?? [])
  }

  /// Whether all paths to an instruction have a right one, with no wrong one after it.
  func allWays(backFrom index: Int, _ judge: (Int, Instruction) -> Verdict) -> Bool {
    follow(from: index, judge) { index in
      let falls = index > 0 && words[index - 1].fallsThrough ? [index - 1] : []
      return falls + (origins[index] ?? [])
    }
  }

  func allWays(backFrom index: Int, _ judge: (Instruction) -> Verdict) -> Bool {
    allWays(backFrom: index) { judge($1) }
  }

  /// Whether all paths from an instruction reach a right one before a wrong one.
  func allWays(onFrom index: Int, _ judge: (Instruction) -> Verdict) -> Bool {
    follow(from: index, { judge($1) }, successors(of:))
  }

  private func follow(
    from start: Int, _ judge: (Int, Instruction) -> Verdict, _ neighbours: (Int) -> [Int]
  ) -> Bool {
    var (left, seen) = ([start], Set([start]))
    while let index = left.popLast() {
      let next = neighbours(index)
      if next.isEmpty { return false }
      for neighbour in next where words.indices.contains(neighbour) && seen.insert(neighbour).inserted {
        switch judge(neighbour, words[neighbour]) {
        case .right: break
        case .wrong: return false
        case .goOn: left.append(neighbour)
        }
      }
    }
    return true
  }
}

/// An A64 instruction, as far as these tests decode it.
///
/// Source: Arm Architecture Reference Manual (DDI 0487), C4.1 "A64 instruction set encoding".
struct Instruction: Equatable {
  let word: UInt32

  static let waitForInterrupt = Self(word: 0xd503_207f)
  static let waitForEvent = Self(word: 0xd503_205f)
  static let clearExclusive = Self(word: 0xd503_3f5f)
  /// DSB SY.
  static let barrierForSystem = Self(word: 0xd503_3f9f)

  private func matches(_ mask: UInt32, _ value: UInt32) -> Bool { word & mask == value }

  /// SYS with CRn 8.
  var isInvalidation: Bool { matches(0xfff8_f000, 0xd508_8000) }
  /// CRm 7: not broadcast.
  var isOfThisCPU: Bool { word >> 8 & 15 == 7 }
  /// The kind of translations that an invalidation drops: op2.
  var invalidationKind: UInt32 { word >> 5 & 7 }
  /// DC CVAC.
  var isCleanToCoherency: Bool { matches(0xffff_ffe0, 0xd50b_7a20) }
  /// MSR TPIDR_EL1.
  var setsCurrentThread: Bool { matches(0xffff_ffe0, 0xd518_d080) }
  /// DSB NSH or SY, as boot code has them.
  var isBarrierOfBoot: Bool { word == 0xd503_379f || word == 0xd503_3f9f }
  /// DSB ISH or SY.
  var isBarrierForAll: Bool { word == 0xd503_3b9f || word == 0xd503_3f9f }
  /// The same, or DSB ISHST.
  var isBarrierForStores: Bool { isBarrierForAll || word == 0xd503_3a9f }

  /// DMB ISHLD, DMB ISH, or a barrier for all.
  var isBarrierForLoads: Bool { word == 0xd503_39bf || word == 0xd503_3bbf || isBarrierForAll }

  /// A load or store, other than of a literal.
  var isAccess: Bool { matches(0x0a00_0000, 0x0800_0000) && !matches(0x3b00_0000, 0x1800_0000) }
  var isStore: Bool {
    guard isAccess else { return false }
    let isRegister = matches(0x3800_0000, 0x3800_0000)
    return isRegister ? word >> 22 & 3 == 0 : word >> 22 & 1 == 0
  }
  var usesStackPointer: Bool { word >> 5 & 31 == 31 }
  /// LDR of 32 bits at an unsigned offset.
  var loadsWord: Bool { matches(0xffc0_0000, 0xb940_0000) }
  /// CMP of 32 bits with 1023.
  var comparesWithSpurious: Bool { matches(0xffff_fc1f, 0x710f_fc1f) }
  /// LDAXR or LDXR of any size.
  var isLoadExclusive: Bool { matches(0x3fff_7c00, 0x085f_7c00) }
  /// LDAR of any size.
  var isLoadAcquire: Bool { matches(0x3fff_fc00, 0x08df_fc00) }

  /// STLR of any size.
  var isStoreRelease: Bool { matches(0x3fff_fc00, 0x089f_fc00) }

  /// MSR DAIFSet with I.
  var masksInterrupts: Bool { matches(0xffff_f2ff, 0xd503_42df) }
  /// MSR DAIF, DAIFSet, DAIFClr.
  var changesInterrupts: Bool {
    matches(0xffff_ffe0, 0xd51b_4220) || matches(0xffff_f0df, 0xd503_40df)
  }

  var isReturn: Bool { matches(0xffff_fc1f, 0xd65f_0000) }

  /// BL, BLR, RET, BR, ERET.
  var isCall: Bool { matches(0xfc00_0000, 0x9400_0000) || matches(0xfe00_0000, 0xd600_0000) }

  /// Whether the next instruction may follow.
  var fallsThrough: Bool {
    let isLeft = matches(0xfc00_0000, 0x1400_0000) || matches(0xffe0_001f, 0xd420_0000) || word == 0
    let isReturn = matches(0xfe00_0000, 0xd600_0000) && !matches(0xffff_fc1f, 0xd63f_0000)
    return !isLeft && !isReturn
  }

  /// The distance of a branch's target in instructions, except of calls.
  var branchDistance: Int? {
    if case .jump(let distance) = Branch(decoding: word) { distance / 4 } else { nil }
  }

  /// The distance of a call's target in instructions.
  var callDistance: Int? {
    if case .call(let distance) = Branch(decoding: word) { distance / 4 } else { nil }
  }
}
