// A console that passes on whole lines.

import KernelStacks

/// The text output of a simulated kernel: a handler gets each finished line.
public struct LineConsole: TextSink {
  private final class Buffer {
    var bytes: [UInt8] = []
    let handler: (String) -> Void
    init(handler: @escaping (String) -> Void) { self.handler = handler }
  }

  private var buffer: Buffer

  /// Makes a console that calls `handler` with each line, without its newline.
  public init(handler: @escaping (String) -> Void) { buffer = Buffer(handler: handler) }

  /// Begins a line of this value's own: other simulated CPUs may write lines before it ends.
  public mutating func beginLine() { buffer = Buffer(handler: buffer.handler) }

  /// Appends one byte.
  public mutating func write(byte: UInt8) {
    guard byte == UInt8(ascii: "\n") else {
      buffer.bytes.append(byte)
      return
    }
    let line = String(decoding: buffer.bytes, as: UTF8.self)
    buffer.bytes.removeAll(keepingCapacity: true)
    buffer.handler(line)
  }
}
