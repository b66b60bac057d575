// The division of an address into table indices.
//
//   63        48 47      39 38      30 29      21 20      12 11         0
//  +------------+----------+----------+----------+----------+------------+
//  | half: 0, 1 | level 0  | level 1  | level 2  | level 3  |   offset   |   48 bits
//  +------------+----------+----------+----------+----------+------------+
//  |  half: 0 or all ones  | level 1  | level 2  | level 3  |   offset   |   39 bits
//  +-----------------------+----------+----------+----------+------------+
//
// Source: Arm Architecture Reference Manual (DDI 0487), D8.2 "Translation process", 4 KiB granule.

import KernelMachine

struct AddressSplit {
  let bits: Int

  var rootLevel: Int { bits == 39 ? 1 : 0 }

  /// The lowest address of the kernel's half.
  var kernelBase: UInt { UInt.max << UInt(bits) }

  /// The lowest address of the linear map: the middle of the kernel's half.
  var linearBase: UInt { UInt.max << UInt(bits - 1) }

  /// log2 of the bytes that one entry of a level translates.
  static func shift(_ level: Int) -> UInt { UInt(39 - 9 * level) }

  static func span(_ level: Int) -> UInt { 1 << shift(level) }

  static func index(_ address: UInt, _ level: Int) -> UInt { (address >> shift(level)) & 511 }

  static func base(_ address: UInt, _ level: Int) -> UInt { address & ~(span(level) - 1) }

  func isKernel(_ address: UInt) -> Bool { address >= kernelBase }

  func isUser(_ address: UInt) -> Bool { address >> UInt(bits) == 0 }

  func isLinear(_ address: UInt) -> Bool { address >= linearBase }
}
