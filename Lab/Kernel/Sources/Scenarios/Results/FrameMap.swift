// A picture of physical memory: one letter per frame, kept until the result is written.

import KernelStacks

/// What one frame is, as a letter.
///
/// | letter | frame |
/// |---|---|
/// | `r` | reserved: the kernel and what was set aside at boot |
/// | `f` | free |
/// | `b` | ballast: any other use |
/// | `s` | a thread stack |
/// | `p` | a page table |
/// | `u` | user memory |
/// | `t` | task records |
/// | `v` | an area of the vmalloc area |
/// | `m` | metadata |
/// | `x` | no memory here |
func frameLetter(_ owner: FrameOwner) -> UInt8 {
  switch owner {
  case .unmanaged: UInt8(ascii: "x")
  case .reserved: UInt8(ascii: "r")
  case .free: UInt8(ascii: "f")
  case .used(let purpose):
    switch purpose {
    case .threadStack: UInt8(ascii: "s")
    case .pageTable: UInt8(ascii: "p")
    case .userMemory: UInt8(ascii: "u")
    case .taskRecord: UInt8(ascii: "t")
    case .vmalloc: UInt8(ascii: "v")
    case .metadata: UInt8(ascii: "m")
    case .other: UInt8(ascii: "b")
    }
  }
}

extension Processes {
  /// Takes a picture of memory: `frameSpan` letters.
  borrowing func takeFrameMap(into letters: UnsafeMutablePointer<UInt8>) {
    for index in 0..<frameSpan {
      letters[index] = frameLetter(stacks.frames.base.owner(of: lowestFrame + index))
    }
  }
}

/// A picture of memory as run-length text: `r120f1b1f1`.
struct FrameMapText: TextDescribable {
  var letters: UnsafeMutablePointer<UInt8>
  var count: Int

  func write<Sink: TextSink>(to sink: inout Sink) {
    var index = 0
    while index < count {
      var end = index + 1
      while end < count, letters[end] == letters[index] { end += 1 }
      sink.write(byte: letters[index])
      sink.write(end - index)
      index = end
    }
  }
}
