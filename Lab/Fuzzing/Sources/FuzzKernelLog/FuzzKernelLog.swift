// What libFuzzer calls with each input.

import FuzzedInputs

/// Judges one input; a mistake that it shows ends the process.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  if let finding = FuzzedInput.kernelLog.judge(UnsafeRawBufferPointer(start: bytes, count: count)) {
    fatalError(finding.description)
  }
  return 0
}
