// The need of stack of functions and all that they call, in small files made by hand.

@testable import ImageTools
import Testing

@Suite struct StackNeedTests {
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
      ("tbnz x1, #0, .-4", 0x3707_ffe1, .jump(distance: -4)), ("blr x8", .callByX8, .callByRegister),
      ("br x9", 0xd61f_0120, .jumpByRegister), ("ret", .ret, nil), ("nop", 0xd503_201f, nil),
    ] as [(String, UInt32, Branch?)])
  func `Each branch is decoded`(text: String, word: UInt32, branch: Branch?) {
    #expect(Branch(decoding: word) == branch, "\(text)")
  }

  @Test func `A call comes on top of the caller's whole frame, and the deepest counts`() throws {
    let need = try Self.need([
      ("outer", [.pushPair96, .call(5), .call(6), .popPair96, .ret]),
      ("unused", [.ret]),
      ("small", [.ret]),
      ("unused2", [.ret]),
      ("large", [.subtract32, .add32, .ret]),
    ])
    #expect(try need.chain(of: "outer") == .init(byteCount: 128, functions: ["outer", "large"]))
    #expect(try need.chain(of: "small") == .init(byteCount: 0, functions: ["small"]))
    #expect(need.callersByRegister == [])
  }

  @Test func `A jump after the epilogue comes on top of nothing, one before it on top of the frame`() throws {
    let need = try Self.need([
      ("after", [.subtract32, .add32, .jump(4)]),
      ("before", [.subtract32, .jump(2), .add32]),
      ("target", [.pushPair96, .popPair96, .ret]),
    ])
    #expect(try need.chain(of: "after").byteCount == 96)
    #expect(try need.chain(of: "before").byteCount == 128)
  }

  @Test func `What has no bound is named`() throws {
    let need = try Self.need([
      ("first", [.subtract32, .call(3), .add32, .ret]),
      ("second", [.subtract32, .call(-5), .add32, .ret]),
      ("dynamic", [0xcb29_63ff, .ret]),
      ("register", [.callByX8, .ret]),
    ])
    #expect(throws: StackNeed.Unknown.recursion("first")) { try need.chain(of: "first") }
    #expect(throws: StackNeed.Unknown.frameOfUnknownSize("dynamic")) { try need.chain(of: "dynamic") }
    #expect(throws: StackNeed.Unknown.noFunction("third")) { try need.chain(of: "third") }
    #expect(need.callersByRegister == ["register"])
  }
}
