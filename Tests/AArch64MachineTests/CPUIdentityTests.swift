// The CPUs that may keep dirty state, by real values of MIDR_EL1 and ID_AA64MMFR1_EL1.

import AArch64Machine
import Testing

@Suite struct CPUIdentityTests {
  private let hasDirtyState: UInt64 = 0x1021_2122

  private func keepsDirtyState(_ midr: UInt64, _ features: UInt64? = nil) -> Bool {
    CPUIdentity(rawValue: midr).keepsDirtyState(memoryFeatures: features ?? hasDirtyState)
  }

  @Test(
    arguments: [
      0x410f_d050, 0x411f_d050, 0x412f_d050, 0x412f_d051,  // Cortex-A55 r0p0, r1p0, r2p0, r2p1
      0x51df_805e,  // Kryo 4xx Silver r13p14
      0x410f_d460, 0x410f_d461, 0x410f_d462,  // Cortex-A510 r0p0, r0p1, r0p2
    ] as [UInt64]) func `CPUs whose errata lose dirty state are not let keep it`(midr: UInt64)
  {
    #expect(!keepsDirtyState(midr))
  }

  @Test(
    arguments: [
      0x410f_d463, 0x411f_d460,  // Cortex-A510 r0p3, r1p0
      0x414f_d0b0,  // Cortex-A76
      0x51df_804e,  // Kryo 4xx Gold
      0x000f_0510,  // QEMU's `max`
      0x610f_d050, 0x410f_d060,  // the part number or the implementer of one that is denied
    ] as [UInt64]) func `Other CPUs keep it if they say that they can`(midr: UInt64)
  {
    #expect(keepsDirtyState(midr))
    #expect(!keepsDirtyState(midr, hasDirtyState & ~0xf), "neither")
    #expect(!keepsDirtyState(midr, hasDirtyState & ~0xf | 1), "the access flag only")
    #expect(keepsDirtyState(midr, hasDirtyState & ~0xf | 3), "tables' access flags, too")
  }
}
