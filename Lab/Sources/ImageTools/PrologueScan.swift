// The scan for the largest stack frame of a linked kernel, so that the build can refuse one that could step over a guard.
//
// Bare-metal code has no stack probes: a function that lowers the stack pointer by more than the guard's size could store below
// the guard. So the guard must be at least as large as the largest stack frame.
//
// Instructions that lower the stack pointer in compiled code (Arm Architecture Reference Manual, C6.2, C7.2):
//
//    sub sp, sp, #imm{, lsl #12}       1101 0001 0s.. imm12 ..11 1111 1111
//    stp xA, xB, [sp, #-imm]!          1010 1001 10 imm7 ..... 11111 .....    and its forms for d and q registers
//    str xA, [sp, #-imm]!              1111 1000 000 imm9 11 11111 .....      and its forms for d and q registers
//    sub sp, sp, xN{, extend}          1100 1011 001 ..... ...... 11111 11111   by an amount known only at run time
//    and sp, xN, #mask                 1001 0010 0 ............. ..... 11111    as above

/// The stack memory that one function takes in one step.
public struct StackFrame: Equatable, Sendable {
  /// The function's symbol.
  public var function: String
  /// The address of the last instruction that lowers the stack pointer.
  public var address: UInt64
  /// The bytes by which the stack pointer is lowered.
  public var byteCount: Int
}

/// The effect of an instruction on the stack pointer.
public enum StackPointerEffect: Equatable, Sendable {
  /// No effect that matters to the scan.
  case none
  /// Lowers it by a constant number of bytes.
  case lowers(by: Int)
  /// Lowers it by an amount in a register.
  case lowersByRegister
  /// Raises it or sets it: an epilogue, or a change of stacks.
  case restores

  /// Decodes an A64 instruction.
  public init(decoding word: UInt32) {
    let destination = word & 31
    let base = word >> 5 & 31
    // ADD and SUB immediate, 64 bits, flags not set.
    if word & 0xbf80_0000 == 0x9100_0000, destination == 31 {
      let immediate = Int(word >> 10 & 0xfff) << (word & 0x40_0000 != 0 ? 12 : 0)
      self = word & 0x4000_0000 != 0 && base == 31 ? .lowers(by: immediate) : .restores
      return
    }
    // SUB extended register: sub sp, sp, xN.
    if word & 0xffe0_0000 == 0xcb20_0000, destination == 31 {
      self = base == 31 ? .lowersByRegister : .restores
      return
    }
    // AND immediate: and sp, xN, #mask, which aligns a frame computed in xN.
    if word & 0xff80_0000 == 0x9200_0000, destination == 31 {
      self = .lowersByRegister
      return
    }
    guard base == 31 else {
      self = .none
      return
    }
    // Pairs with write-back of x (0xa8), d (0x6c) and q (0xac) registers: bit 23 set; bit 24 distinguishes pre- and post-index.
    let family = word & 0xfe00_0000
    if family == 0xa800_0000 || family == 0x6c00_0000 || family == 0xac00_0000, word & 0x0080_0000 != 0 {
      let scale = family == 0xac00_0000 ? 16 : 8
      self.init(writeBack: Int(Int32(bitPattern: word << 10) >> 25) * scale)
      return
    }
    // Single registers with write-back: x or d (size 3), q (size 0 with opc<1>), pre- or post-index.
    if word & 0x3b20_0400 == 0x3800_0400 {
      self.init(writeBack: Int(Int32(bitPattern: word << 11) >> 23))
      return
    }
    self = .none
  }

  private init(writeBack change: Int) {
    self = change < 0 ? .lowers(by: -change) : change > 0 ? .restores : .none
  }
}

/// The stack frames of a linked file.
public struct PrologueScan: Sendable {
  /// The frames, the largest first; one for each function that has a frame.
  public let frames: [StackFrame]
  /// The frames whose size the scan cannot know.
  ///
  /// Their byte count is 0.
  public let unboundedFrames: [StackFrame]

  /// Scans all code of a file.
  ///
  /// Consecutive steps add up to one frame until the stack pointer is raised again or the next function begins.
  public init(_ file: ElfFile) {
    var largest: [String: StackFrame] = [:]
    var unbounded: [StackFrame] = []
    var depth = 0
    file.forEachCodeWord { code in
      if code.isFirst { depth = 0 }
      switch StackPointerEffect(decoding: code.word) {
      case .none: break
      case .restores: depth = 0
      case .lowersByRegister:
        unbounded.append(StackFrame(function: code.function, address: code.address, byteCount: 0))
      case .lowers(let bytes):
        depth += bytes
        if depth > largest[code.function]?.byteCount ?? 0 {
          largest[code.function] = StackFrame(function: code.function, address: code.address, byteCount: depth)
        }
      }
    }
    frames = largest.values.sorted { ($0.byteCount, $1.address) > ($1.byteCount, $0.address) }
    unboundedFrames = unbounded
  }

  /// Checks that no frame is larger than the guard, or of unknown size.
  ///
  /// - Throws: ``FrameTooLarge``.
  public func check(guardByteCount: Int) throws(FrameTooLarge) {
    if let frame = frames.first, frame.byteCount > guardByteCount {
      throw FrameTooLarge(frame: frame, guardByteCount: guardByteCount)
    }
    if let frame = unboundedFrames.first {
      throw FrameTooLarge(frame: frame, guardByteCount: guardByteCount)
    }
  }
}

/// A function whose stack frame could step over a guard.
public struct FrameTooLarge: Error, Equatable, CustomStringConvertible {
  /// The frame.
  public var frame: StackFrame
  /// The smallest size of a guard, in bytes.
  public var guardByteCount: Int

  /// The error in one line.
  public var description: String {
    let size = frame.byteCount == 0 ? "of a size known only at run time" : "of \(frame.byteCount) bytes"
    return
      "\(frame.function) (\(hexadecimal(frame.address))) has a stack frame \(size), and the guard below a stack "
      + "is only sure to have \(guardByteCount) bytes"
  }
}
