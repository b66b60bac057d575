// The system call `write`.

import KernelStacks

extension Processes {
  /// Writes bytes of a process to the console.
  ///
  /// Writes pieces of up to 256 bytes, so that interrupts are off for the time of one piece only. No other output comes into a
  /// piece, and a piece ends with a line if one ends in it: a line that fits into a piece stays whole.
  ///
  /// - Parameters:
  ///   - address: the address of the first byte, unchecked.
  ///   - count: the number of bytes, unchecked.
  ///   - task: the process.
  ///   - console: the console to write to.
  /// - Returns: `count`, or -1 if that is negative or the process may not read all bytes; the pieces before the first that it
  ///   may not read have then been written.
  public borrowing func write<Console: TextSink>(
    _ address: VirtualAddress, count: Int, of task: TaskPointer, to console: Console
  ) -> Int {
    guard count >= 0 else { return -1 }
    var buffer = InlineArray<256, UInt8>(repeating: 0)
    var done = 0
    while done < count {
      let written = withUnsafeMutableBytes(of: &buffer) { bytes -> Int? in
        let rest = UnsafeMutableRawBufferPointer(rebasing: bytes.prefix(count - done))
        guard copyFromUser(task, address + done, to: rest) else { return nil }
        let piece =
          rest.count < count - done ? rest.prefix(through: rest.lastIndex(of: 10) ?? rest.count - 1) : rest[...]
        var console = console
        console.beginLine()
        for byte in piece { console.write(byte: byte) }
        console.endLine()
        return piece.count
      }
      guard let written else { return -1 }
      done += written
    }
    return done
  }
}
