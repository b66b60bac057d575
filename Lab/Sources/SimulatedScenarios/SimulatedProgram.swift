// The image of a simulated program, whose code is called on the host and whose pages are real.
//
//   0x400000  code     1 page, read and execute
//   0x410000  data     4 pages, copy-on-write after a fork; the third is the scratch page
//   0x5fe000  stack    2 pages
//   0x600000  end of the 2 MiB that one leaf table maps

import KernelProcesses
import KernelStacks
import Scenarios

/// The first process's program on the simulated machine.
enum SimulatedProgram {
  static var scratchPage: UInt { 0x412000 }

  /// The image; `code` stands for its instructions.
  static func image(code: UnsafeRawBufferPointer) -> ProgramImage {
    var image = ProgramImage(entry: VirtualAddress(0x400000), stackTop: VirtualAddress(0x600000))
    _ = image.add(
      ProgramSegment(
        address: VirtualAddress(0x400000), contents: code, byteCount: pageSize, permissions: .userExecute))
    _ = image.add(
      ProgramSegment(
        address: VirtualAddress(0x410000), contents: UnsafeRawBufferPointer(start: nil, count: 0),
        byteCount: 4 * pageSize, permissions: .userReadWrite))
    return image
  }
}
