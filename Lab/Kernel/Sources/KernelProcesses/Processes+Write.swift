// The system call `write`.

import KernelStacks

extension Processes where F: ~Copyable {
  /// Writes bytes of a process to the console.
  ///
  /// Piece by piece, so that interrupts are off for no longer than one takes. A piece is the console's alone and ends with a
  /// line, if one ends in it: a line that fits into a piece is not broken by what others write.
  ///
  /// - Parameters:
  ///   - address: the address of the first byte, as the process gave it.
  ///   - count: how many bytes, as the process gave it.
  ///   - task: the process.
  ///   - console: where they go.
  /// - Returns: `count`, or -1 if that is negative or the process may not read all of them; those up to a piece that it may
  ///   not read have been written then.
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
