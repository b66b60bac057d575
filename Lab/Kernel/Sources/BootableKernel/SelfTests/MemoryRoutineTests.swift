// A self-test of the memory routines that compiled code calls.
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios

/// Copies, fills and compares ranges of all short lengths and overlaps, and checks every byte around them.
func testMemoryRoutines() -> Bool {
  let frame: PageFrame
  do {
    frame = try KernelObjects.frames.pointee.allocate(FrameRequest(purpose: .other))
  } catch {
    fail("memory routines", error)
  }
  let bytes = AArch64().pointer(to: frame.physicalAddress).assumingMemoryBound(to: UInt8.self)
  var copies = true
  var fills = true
  for length in 0..<150 {
    for target in stride(from: 300 - 90, through: 300 + 90, by: length < 40 ? 1 : 7) {
      prepare(bytes)
      kernel_copy(bytes + target, bytes + 300, length)
      copies = copies && isCopied(bytes, from: 300, to: target, length)
    }
    prepare(bytes)
    kernel_fill(bytes + 300 + length % 9, 0x1a5, length)
    fills = fills && isFilled(bytes, at: 300 + length % 9, length)
  }
  prepare(bytes)
  kernel_copy(bytes + 1000, bytes, 500)
  let equal = kernel_compare(bytes + 1000, bytes, 500) == 0
  bytes[1499] &+= 1
  let larger = kernel_compare(bytes + 1000, bytes, 500) > 0 && kernel_compare(bytes, bytes + 1000, 500) < 0
  var passed = check("blocks are copied, whatever their overlap", copies)
  passed = check("blocks are filled", fills) && passed
  return check("blocks are compared", equal && larger) && passed
}

private func pattern(_ index: Int) -> UInt8 { UInt8(truncatingIfNeeded: index &* 167 &+ index &>> 8) }

// By stores that the compiler does not turn into a call.
private func prepare(_ bytes: UnsafeMutablePointer<UInt8>) {
  for index in stride(from: 0, to: 2000, by: 8) {
    var word: UInt64 = 0
    for offset in 0..<8 { word |= UInt64(pattern(index + offset)) << UInt64(offset * 8) }
    ca_store(UInt(bitPattern: bytes) + UInt(index), word)
  }
}

private func isCopied(
  _ bytes: UnsafeMutablePointer<UInt8>, from source: Int, to target: Int, _ length: Int
) -> Bool {
  for index in 0..<1000 {
    let isTarget = index >= target && index < target + length
    if bytes[index] != pattern(isTarget ? index - target + source : index) { return false }
  }
  return true
}

private func isFilled(_ bytes: UnsafeMutablePointer<UInt8>, at target: Int, _ length: Int) -> Bool {
  for index in 0..<1000 {
    let isTarget = index >= target && index < target + length
    if bytes[index] != (isTarget ? 0xa5 : pattern(index)) { return false }
  }
  return true
}
