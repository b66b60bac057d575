// The decoder of instructions that move the stack pointer, and the search for the largest frame.

@testable import ImageTools
import Testing

@Suite struct PrologueScanTests {
  @Test(
    arguments: [
      ("sub sp, sp, #32", 0xd100_83ff, StackPointerEffect.lowers(by: 32)),
      ("sub sp, sp, #2, lsl #12", 0xd140_0bff, .lowers(by: 8192)),
      ("sub sp, sp, #4095", 0xd13f_ffff, .lowers(by: 4095)),
      ("stp x29, x30, [sp, #-96]!", 0xa9ba_7bfd, .lowers(by: 96)),
      ("stp d8, d9, [sp, #-32]!", 0x6dbe_27e8, .lowers(by: 32)),
      ("stp q0, q1, [sp, #-64]!", 0xadbe_07e0, .lowers(by: 64)),
      ("str x30, [sp, #-16]!", 0xf81f_0ffe, .lowers(by: 16)),
      ("str q0, [sp, #-16]!", 0x3c9f_0fe0, .lowers(by: 16)),
      ("str x30, [sp], #-256", 0xf810_07fe, .lowers(by: 256)),
      ("sub sp, sp, x9", 0xcb29_63ff, .lowersByRegister),
      ("and sp, x9, #-64", 0x927a_e53f, .lowersByRegister),
      ("add sp, sp, #32", 0x9100_83ff, .restores),
      ("sub sp, x29, #16", 0xd100_43bf, .restores),
      ("mov sp, x0", 0x9100_001f, .restores),
      ("ldp x29, x30, [sp], #96", 0xa8c6_7bfd, .restores),
      ("ldr x30, [sp], #16", 0xf841_07fe, .restores),
      ("sub x0, sp, #16", 0xd100_43e0, .none),
      ("add x29, sp, #16", 0x9100_43fd, .none),
      ("stp x29, x30, [sp, #-16]", 0xa93f_7bfd, .none),
      ("str x30, [sp, #8]", 0xf900_07fe, .none),
      ("stp x0, x1, [x2, #-16]!", 0xa9bf_0440, .none),
      ("and x9, x9, #-64", 0x927a_e529, .none),
      ("cmp sp, #16", 0xf100_43ff, .none),
      ("ret", 0xd65f_03c0, .none),
      ("nop", 0xd503_201f, .none),
    ] as [(String, UInt32, StackPointerEffect)])
  func `Each instruction is decoded`(text: String, word: UInt32, effect: StackPointerEffect) {
    #expect(StackPointerEffect(decoding: word) == effect, "\(text)")
  }

  @Test func `Steps of one prologue add up, and functions are told apart`() throws {
    var elf = HandMadeElf()
    elf.text = [
      .subtract32, .add32, .ret,
      .pushPair96, .subtract8192, .subtract32, .popPair96, .ret,
    ]
    elf.symbols = [("small", elf.textAddress), ("large", elf.textAddress + 12)]
    let scan = PrologueScan(try ElfFile(elf.bytes))
    #expect(
      scan.frames == [
        StackFrame(function: "large", address: elf.textAddress + 20, byteCount: 96 + 8192 + 32),
        StackFrame(function: "small", address: elf.textAddress, byteCount: 32),
      ])
  }

  @Test func `Mangled names that begin like mapping symbols are functions`() throws {
    var elf = HandMadeElf()
    elf.text = [.subtract32, .ret, .subtract8192, .ret]
    elf.symbols = [
      ("$e4main1fyyF", elf.textAddress), ("$x", elf.textAddress), ("$d4dataF", elf.textAddress + 8),
    ]
    let scan = PrologueScan(try ElfFile(elf.bytes))
    #expect(scan.frames.map(\.function) == ["$d4dataF", "$e4main1fyyF"])
    #expect(scan.frames.map(\.byteCount) == [8192, 32])
  }

  @Test func `An epilogue ends a frame`() throws {
    var elf = HandMadeElf()
    elf.text = [.subtract32, .add32, .ret, .subtract32, .add32, .ret]
    elf.symbols = [("f", elf.textAddress)]
    #expect(PrologueScan(try ElfFile(elf.bytes)).frames.map(\.byteCount) == [32])
  }

  @Test func `Data between instructions is not decoded`() throws {
    var elf = HandMadeElf()
    elf.text = [.ret, .subtract8192, .subtract32, .ret]
    elf.symbols = [
      ("f", elf.textAddress), ("$x", elf.textAddress), ("$d.1", elf.textAddress + 4),
      ("$x.2", elf.textAddress + 8),
    ]
    #expect(PrologueScan(try ElfFile(elf.bytes)).frames.map(\.byteCount) == [32])
  }

  @Test func `A frame larger than the guard is refused by name`() throws {
    var elf = HandMadeElf()
    elf.text = [.subtract8192, .ret]
    elf.symbols = [("greedy", elf.textAddress)]
    let scan = PrologueScan(try ElfFile(elf.bytes))
    let error = #expect(throws: FrameTooLarge.self) { try scan.check(guardByteCount: 4096) }
    #expect(
      error?.description
        == "greedy (0x40080000) has a stack frame of 8192 bytes, and the guard below a stack is only "
        + "sure to have 4096 bytes")
    #expect(throws: Never.self) { try scan.check(guardByteCount: 8192) }
  }

  @Test func `A frame of unknown size is refused`() throws {
    var elf = HandMadeElf()
    elf.text = [0xcb29_63ff]
    elf.symbols = [("variable", elf.textAddress)]
    let scan = PrologueScan(try ElfFile(elf.bytes))
    let error = #expect(throws: FrameTooLarge.self) { try scan.check(guardByteCount: 1 << 20) }
    #expect(error?.frame.function == "variable")
  }
}
