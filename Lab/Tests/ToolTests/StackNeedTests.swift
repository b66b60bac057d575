// The need of stack of functions and all that they call, in small files made by hand.

@testable import ImageTools
import Testing

@Suite struct StackNeedTests {
  static let ret: UInt32 = 0xd65f_03c0
  static let subtract32: UInt32 = 0xd100_83ff
  static let add32: UInt32 = 0x9100_83ff
  static let pushPair96: UInt32 = 0xa9ba_7bfd
  static let popPair96: UInt32 = 0xa8c6_7bfd
  static let callByX8: UInt32 = 0xd63f_0100

  static func call(_ words: Int) -> UInt32 { 0x9400_0000 | UInt32(bitPattern: Int32(words)) & 0x3ff_ffff }
  static func jump(_ words: Int) -> UInt32 { 0x1400_0000 | UInt32(bitPattern: Int32(words)) & 0x3ff_ffff }

  /// A file of functions, one after the other.
  static func need(_ functions: [(name: String, words: [UInt32])]) throws -> StackNeed {
    var elf = HandMadeElf()
    for function in functions {
      elf.symbols.append((function.name, elf.textAddress + UInt64(4 * elf.text.count)))
      elf.text += function.words
    }
    return StackNeed(try ElfFile(elf.bytes))
  }

  @Test(
    arguments: [
      ("bl .+8", 0x9400_0002, .call(distance: 8)), ("bl .-4", 0x97ff_ffff, .call(distance: -4)),
      ("b .+16", 0x1400_0004, .jump(distance: 16)), ("b.ne .-8", 0x54ff_ffc1, .jump(distance: -8)),
      ("cbz x0, .+12", 0xb400_0060, .jump(distance: 12)), ("cbnz w3, .+4", 0x3500_0023, .jump(distance: 4)),
      ("tbnz x1, #0, .-4", 0x3707_ffe1, .jump(distance: -4)), ("blr x8", callByX8, .callByRegister),
      ("br x9", 0xd61f_0120, .jumpByRegister), ("ret", ret, nil), ("nop", 0xd503_201f, nil),
    ] as [(String, UInt32, Branch?)])
  func `Each branch is decoded`(text: String, word: UInt32, branch: Branch?) {
    #expect(Branch(decoding: word) == branch, "\(text)")
  }

  @Test func `A call comes on top of the caller's whole frame, and the deepest counts`() throws {
    let need = try Self.need([
      ("outer", [Self.pushPair96, Self.call(5), Self.call(6), Self.popPair96, Self.ret]),
      ("unused", [Self.ret]),
      ("small", [Self.ret]),
      ("unused2", [Self.ret]),
      ("large", [Self.subtract32, Self.add32, Self.ret]),
    ])
    #expect(try need.chain(of: "outer") == .init(byteCount: 128, functions: ["outer", "large"]))
    #expect(try need.chain(of: "small") == .init(byteCount: 0, functions: ["small"]))
    #expect(need.callersByRegister == [])
  }

  @Test func `A jump after the epilogue comes on top of nothing, one before it on top of the frame`() throws {
    let need = try Self.need([
      ("after", [Self.subtract32, Self.add32, Self.jump(4)]),
      ("before", [Self.subtract32, Self.jump(2), Self.add32]),
      ("target", [Self.pushPair96, Self.popPair96, Self.ret]),
    ])
    #expect(try need.chain(of: "after").byteCount == 96)
    #expect(try need.chain(of: "before").byteCount == 128)
  }

  @Test func `What has no bound is named`() throws {
    let need = try Self.need([
      ("first", [Self.subtract32, Self.call(3), Self.add32, Self.ret]),
      ("second", [Self.subtract32, Self.call(-5), Self.add32, Self.ret]),
      ("dynamic", [0xcb29_63ff, Self.ret]),
      ("register", [Self.callByX8, Self.ret]),
    ])
    #expect(throws: StackNeed.Unknown.recursion("first")) { try need.chain(of: "first") }
    #expect(throws: StackNeed.Unknown.frameOfUnknownSize("dynamic")) { try need.chain(of: "dynamic") }
    #expect(throws: StackNeed.Unknown.noFunction("third")) { try need.chain(of: "third") }
    #expect(need.callersByRegister == ["register"])
  }
}
