// A picture of physical memory: one letter per frame, kept until the result is written.

import KernelProcesses
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

/// A picture of memory: letters for the frames from the first of RAM to the last.
///
/// Of a large memory, each letter is that of one frame of an aligned group, chosen by the group's number: what is free in
/// pieces of a few frames shows in the proportion that it has.
struct FrameMap {
  /// Room for the letters.
  let letters: UnsafeMutablePointer<UInt8>
  /// How many frames the picture covers.
  let frameSpan: Int
  /// log2 of how many of them share a letter.
  let groupShift: Int

  /// How many letters there are.
  var count: Int { Self.letterCount(frameSpan, groupShift) }

  static func letterCount(_ frameSpan: Int, _ groupShift: Int) -> Int {
    (frameSpan - 1) >> groupShift + 1
  }

  /// The frame that a letter stands for, counted from the first.
  func frame(_ index: Int) -> Int {
    let place = (UInt64(index) &* 0x9e37_79b9_7f4a_7c15) >> UInt64(64 - groupShift)
    return min(index << groupShift + (groupShift == 0 ? 0 : Int(place)), frameSpan - 1)
  }

  /// How many frames the letters from `first` up to `end` stand for.
  func frameCount(_ first: Int, _ end: Int) -> Int {
    min(end << groupShift, frameSpan) - first << groupShift
  }
}

extension Processes where Parts: ScenarioParts {
  /// Takes a picture of memory.
  borrowing func takeFrameMap(into map: FrameMap) {
    for index in 0..<map.count {
      map.letters[index] = frameLetter(frameAllocator.owner(of: lowestFrame + map.frame(index)))
    }
  }
}

/// A picture of memory as run-length text: `r120f1b1f1`; the numbers are of frames.
struct FrameMapText: TextDescribable {
  var map: FrameMap

  func write<Sink: TextSink>(to sink: inout Sink) {
    var index = 0
    while index < map.count {
      var end = index + 1
      while end < map.count, map.letters[end] == map.letters[index] { end += 1 }
      sink.write(byte: map.letters[index])
      sink.write(map.frameCount(index, end))
      index = end
    }
  }
}
