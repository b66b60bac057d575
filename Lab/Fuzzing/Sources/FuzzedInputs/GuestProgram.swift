// The address space that guests begin with, and what they may do at which address.
//
//   0x400000  code     1 page, read and execute
//   0x410000  data     4 pages, copy-on-write after a fork
//   0x5fe000  stack    2 pages

import KernelProcesses
import KernelStacks
import Scenarios

enum GuestProgram {
  static let code: UInt = 0x40_0000
  static let data: UInt = 0x41_0000
  static let stackTop: UInt = 0x60_0000

  // Once, for all kernels; there is no instruction behind it.
  nonisolated(unsafe) private static let text = {
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 8)
    bytes.initializeMemory(as: UInt8.self, repeating: 0x5a)
    return UnsafeRawBufferPointer(bytes)
  }()

  static var image: ProgramImage {
    var image = ProgramImage(entry: VirtualAddress(code), stackTop: VirtualAddress(stackTop))
    _ = image.add(
      ProgramSegment(
        address: VirtualAddress(code), contents: text, byteCount: pageSize, permissions: .userExecute))
    _ = image.add(
      ProgramSegment(
        address: VirtualAddress(data), contents: UnsafeRawBufferPointer(start: nil, count: 0),
        byteCount: 4 * pageSize, permissions: .userReadWrite))
    return image
  }

  /// Whether an access to an address is one that the program has a right to.
  static func allows(_ access: UserAccess, at address: UInt) -> Bool {
    let isCode = (code..<code + 4096).contains(address)
    let isWritable =
      (data..<data + 4 * 4096).contains(address) || (stackTop - 2 * 4096..<stackTop).contains(address)
    return switch access {
    case .read: isCode || isWritable
    case .write: isWritable
    case .execute: isCode
    }
  }

  /// What a word holds before anything was stored to it.
  static func initialWord(at address: UInt) -> UInt64 {
    (code..<code + 64).contains(address) ? 0x5a5a_5a5a_5a5a_5a5a : 0
  }
}
