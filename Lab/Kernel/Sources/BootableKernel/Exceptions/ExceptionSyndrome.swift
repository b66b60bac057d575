// The syndrome of an exception: ESR_EL1.
//
//   31    26 25 24                     0
//  +--------+--+------------------------+
//  |   EC   |IL|          ISS           |   aborts: WnR = bit 6, fault status = bits 5:0
//  +--------+--+------------------------+
//
// Source: Arm Architecture Reference Manual (DDI 0487), D24.2.40 "ESR_EL1".
import KernelStacks

/// The exception classes that the kernel distinguishes.
enum ExceptionClass: UInt8 {
  case unknown = 0x00
  case floatingPoint = 0x07
  case illegalState = 0x0e
  case supervisorCall = 0x15
  case userInstructionAbort = 0x20
  case instructionAbort = 0x21
  case programCounterAlignment = 0x22
  case userDataAbort = 0x24
  case dataAbort = 0x25
  case stackAlignment = 0x26
  case breakpoint = 0x3c

  var name: StaticString {
    switch self {
    case .unknown: "undefined instruction"
    case .floatingPoint: "floating-point instruction"
    case .illegalState: "illegal execution state"
    case .supervisorCall: "supervisor call"
    case .userInstructionAbort: "instruction abort at EL0"
    case .instructionAbort: "instruction abort"
    case .programCounterAlignment: "unaligned program counter"
    case .userDataAbort: "data abort at EL0"
    case .dataAbort: "data abort"
    case .stackAlignment: "unaligned stack pointer"
    case .breakpoint: "breakpoint"
    }
  }
}

/// The value of ESR_EL1.
struct ExceptionSyndrome {
  let rawValue: UInt64

  /// The class, or `nil` for one that the kernel does not distinguish.
  var exceptionClass: ExceptionClass? { ExceptionClass(rawValue: UInt8(rawValue >> 26 & 0x3f)) }

  /// The immediate operand of a supervisor call.
  var immediate: UInt16 { UInt16(truncatingIfNeeded: rawValue) }

  /// Whether it is a data or instruction abort taken from EL1.
  var isAbort: Bool { exceptionClass == .dataAbort || exceptionClass == .instructionAbort }

  /// Whether the abort is of a store.
  var isWrite: Bool { rawValue & 1 << 6 != 0 }

  /// Whether the abort is of an invalid entry, at any level.
  var isTranslationFault: Bool { rawValue & 0x3c == 0x04 }

  /// Whether the abort is of a valid entry that forbids the access, at any level.
  var isPermissionFault: Bool { rawValue & 0x3c == 0x0c }
}
