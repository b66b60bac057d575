// The identity of a CPU, and the features that it announces but that an erratum forbids to use. Compiled for the host too,
// since an emulator is none of the CPUs that matter here.
//
//   MIDR_EL1   31         24 23   20 19  16 15           4 3      0
//             +-------------+-------+------+--------------+--------+
//             | implementer |variant| arch | part number  |revision|     r<variant>p<revision>
//             +-------------+-------+------+--------------+--------+
//
// CPUs whose dirty state cannot be relied on:
//
//   Cortex-A55, all         erratum 1024718   DBM or AP changed without break-before-make: the update may be wrong
//   Kryo 4xx Silver r13p14  the same CPU
//   Cortex-A510 r0p0-r0p2   erratum 2051678   the update of the dirty bit may not keep its order
//
// Source: Arm Architecture Reference Manual (DDI 0487), "MIDR_EL1", "ID_AA64MMFR1_EL1"; Arm's Software Developers Errata Notices
// of the two CPUs.

/// A CPU's implementer, part and revision, as MIDR_EL1 has them.
public struct CPUIdentity: Equatable, Sendable {
  /// MIDR_EL1.
  public let rawValue: UInt64

  /// Makes an identity from a value of MIDR_EL1.
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// The implementer in bits 31:12 and the part number in bits 11:0.
  private var model: UInt64 { (rawValue >> 24 & 0xff) << 12 | rawValue >> 4 & 0xfff }
  private var variant: UInt64 { rawValue >> 20 & 0xf }
  private var revision: UInt64 { rawValue & 0xf }

  /// Whether an erratum can make the CPU's dirty state wrong or late, in spite of barriers.
  public var losesDirtyState: Bool {
    switch model {
    case 0x41_d05: true
    case 0x51_805: variant == 13 && revision == 14
    case 0x41_d46: variant == 0 && revision <= 2
    default: false
    }
  }

  /// Whether the CPU can be relied on to keep dirty state in translation tables (TCR_EL1.HD).
  ///
  /// - Parameter memoryFeatures: its ID_AA64MMFR1_EL1.
  public func keepsDirtyState(memoryFeatures: UInt64) -> Bool { memoryFeatures & 0xf >= 2 && !losesDirtyState }

  /// Whether the CPU sets access flags in translation tables (TCR_EL1.HA); the register hides it where it is broken.
  ///
  /// - Parameter memoryFeatures: its ID_AA64MMFR1_EL1.
  public static func updatesAccessFlags(memoryFeatures: UInt64) -> Bool { memoryFeatures & 0xf >= 1 }
}
