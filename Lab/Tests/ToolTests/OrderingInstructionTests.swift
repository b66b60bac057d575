// The decoder of ordering instructions, against an assembler's words.

import ImageTools
import Testing

@Suite struct OrderingInstructionTests {
  @Test(
    arguments: [
      ("ldxr x1, [x0]", 0xc85f_7c01),
      ("ldxrb w1, [x0]", 0x085f_7c01),
      ("ldaxr w1, [x0]", 0x885f_fc01),
      ("ldaxrh w1, [x0]", 0x485f_fc01),
      ("stxr w2, x1, [x0]", 0xc802_7c01),
      ("stlxr w2, w1, [x0]", 0x8802_fc01),
      ("stlxrh w2, w1, [x0]", 0x4802_fc01),
      ("ldar x1, [x0]", 0xc8df_fc01),
      ("ldarb w1, [x0]", 0x08df_fc01),
      ("stlr wzr, [x0]", 0x889f_fc1f),
      ("stlrb wzr, [x0]", 0x089f_fc1f),
      ("stlrh w1, [x0]", 0x489f_fc01),
      ("stllr x1, [x0]", 0xc89f_7c01),
      ("ldlar x1, [x0]", 0xc8df_7c01),
      ("ldapr x1, [x0]", 0xf8bf_c001),
      ("ldapur x1, [x0, #8]", 0xd940_8001),
      ("stlur w1, [x0, #8]", 0x9900_8001),
      ("cas x1, x2, [x0]", 0xc8a1_7c02),
      ("casa w1, w2, [x0]", 0x88e1_7c02),
      ("casal x1, x2, [x0]", 0xc8e1_fc02),
      ("caslb w1, w2, [x0]", 0x08a1_fc02),
      ("swpalh w1, w2, [x0]", 0x78e1_8002),
      ("swp x1, x2, [x0]", 0xf821_8002),
      ("ldadd x1, x2, [x0]", 0xf821_0002),
      ("ldaddal x1, x2, [x0]", 0xf8e1_0002),
      ("stadd x1, [x0]", 0xf821_001f),
      ("ldclrl x1, x2, [x0]", 0xf861_1002),
      ("ldseta w1, w2, [x0]", 0xb8a1_3002),
      ("stsetl w1, [x0]", 0xb861_301f),
      ("ldumaxa x1, x2, [x0]", 0xf8a1_6002),
      ("dsb ish", 0xd503_3b9f),
      ("dsb ishst", 0xd503_3a9f),
      ("dsb ishld", 0xd503_399f),
      ("dsb sy", 0xd503_3f9f),
      ("dsb nsh", 0xd503_379f),
      ("dmb ish", 0xd503_3bbf),
      ("dmb ishld", 0xd503_39bf),
      ("dmb oshst", 0xd503_32bf),
      ("isb", 0xd503_3fdf),
      ("clrex", 0xd503_3f5f),
      ("wfe", 0xd503_205f),
      ("wfi", 0xd503_207f),
      ("sev", 0xd503_209f),
      ("sevl", 0xd503_20bf),
      ("eret", 0xd69f_03e0),
      ("tlbi vmalle1", 0xd508_871f),
      ("tlbi vmalle1is", 0xd508_831f),
      ("tlbi vae1is, x0", 0xd508_8320),
      ("tlbi vale1is, x0", 0xd508_83a0),
      ("tlbi vaae1is, x0", 0xd508_8360),
      ("tlbi vaale1is, x0", 0xd508_83e0),
      ("tlbi aside1is, x0", 0xd508_8340),
      ("tlbi vale1, x0", 0xd508_87a0),
      ("ic ialluis", 0xd508_711f),
      ("ic iallu", 0xd508_751f),
      ("ic ivau, x0", 0xd50b_7520),
      ("dc cvau, x0", 0xd50b_7b20),
      ("dc cvac, x0", 0xd50b_7a20),
      ("dc civac, x0", 0xd50b_7e20),
      ("dc ivac, x0", 0xd508_7620),
      ("dc zva, x0", 0xd50b_7420),
      ("msr ttbr0_el1, x0", 0xd518_2000),
      ("msr ttbr1_el1, x0", 0xd518_2020),
      ("msr tcr_el1, x0", 0xd518_2040),
      ("msr sctlr_el1, x0", 0xd518_1000),
      ("msr hcr_el2, x0", 0xd51c_1100),
      ("msr vttbr_el2, x0", 0xd51c_2100),
    ] as [(String, UInt32)])
  func `An instruction that orders is decoded to what an assembler calls it`(text: String, word: UInt32) {
    let decoded = OrderingInstruction(decoding: word)
    #expect(decoded != nil)
    #expect(decoded == OrderingInstruction(assembly: text))
  }

  @Test(
    arguments: [
      ("ldaxp x1, x2, [x0]", 0xc87f_8801, "ldaxp xx"),
      ("stxp w3, x1, x2, [x0]", 0xc823_0801, "stxp xx"),
      ("casp x2, x3, x4, x5, [x0]", 0x4822_7c04, "casp xx"),
      ("caspal w2, w3, w4, w5, [x0]", 0x0862_fc04, "caspal ww"),
      ("swpa x1, xzr, [x0]", 0xf8a1_801f, "swp x"),
      ("ldaddal x1, xzr, [x0]", 0xf8e1_001f, "staddl x"),
      ("tlbi ipas2e1is, x0", 0xd50c_8020, "tlbi 4 0 1"),
      ("at s1e1r, x0", 0xd508_7800, "sys 0 7 8 0"),
    ] as [(String, UInt32, String)])
  func `Pairs, results that are thrown away, and rare operations have names of their own`(
    text: String, word: UInt32, name: String
  ) {
    #expect(OrderingInstruction(decoding: word)?.description == name, "\(text)")
  }

  @Test(
    arguments: [
      ("strb wzr, [x0]", 0x3900_001f),
      ("str x1, [x0]", 0xf900_0001),
      ("ldr x1, [x0]", 0xf940_0001),
      ("strb w1, [x0, x2]", 0x3822_6801),
      ("ldrsw x1, [x0, #4]", 0xb980_0401),
      ("ldr x1, [x0], #8", 0xf840_8401),
      ("stp x1, x2, [x0]", 0xa900_0801),
      ("str q0, [x0]", 0x3d80_0000),
      ("mrs x0, ttbr0_el1", 0xd538_2000),
      ("msr daifset, #3", 0xd503_43df),
      ("nop", 0xd503_201f),
      ("yield", 0xd503_203f),
      ("svc #0", 0xd400_0001),
      ("hvc #0", 0xd400_0002),
      ("ret", 0xd65f_03c0),
    ] as [(String, UInt32)])
  func `Plain accesses and other instructions order nothing`(text: String, word: UInt32) {
    #expect(OrderingInstruction(decoding: word) == nil)
    #expect(OrderingInstruction(assembly: text) == nil)
  }

  @Test(arguments: [
    ("STLRB WZR,[X0]", "stlr b", ""), ("LDAXRH W16,[X0]", "ldaxr h", ""), ("STXR W16,X15,[X0]", "stxr x", ""),
    ("STXR W12,W14,[X0]", "stxr w", ""), ("CASAH W16,W15,[X0]", "casa h", "a"),
    ("SWPALH W1,W2,[X3]", "swpal h", "al"),
    ("LDSET W14,W13,[X0]", "ldset w", ""), ("STSETL X1,[X0]", "stsetl x", "l"),
    ("LDCLRAL X1,X2,[X0]", "ldclral x", "al"),
    ("TLBI VALE1IS,X9", "tlbi vale1is", ""), ("DSB ISHST", "dsb ishst", ""), ("ISB", "isb", ""),
  ])
  func `Size, operation and order are read from the text`(text: String, name: String, order: String) throws {
    let instruction = try #require(OrderingInstruction(assembly: text))
    #expect(instruction.description == name)
    #expect(instruction.order == order)
  }
}
