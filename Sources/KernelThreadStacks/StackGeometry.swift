// Where stacks lie, as pure arithmetic: from a stack pointer to its stack, its slot and its thread_info.
//
// phase = 0. Slots and windows (what one aligned stride holds) coincide:
//
//      firstWindow                +stride                    +2·stride
//           |        slot 0          |        slot 1            |
//           +--------------+---------+--------------+-----------+---
//           |    guard     |  stack  |    guard     |   stack   | …
//           +--------------+---------+--------------+-----------+---
//   entries  M                        M                             M: the marker, in the first guard page's entry
//
// phase ≥ size. A slot begins `phase` above a multiple of the stride, but its stack still lies in one window, whole:
//
//           firstWindow                 +stride
//    slot 0 begins |        | slot 1 begins      |
//        |         |        |           |        |
//        +---------+--------+-----------+--------+--------------
//        |  guard  | stack  |     guard          | stack  | …
//        +---------+--------+-----------+--------+--------------
//   entries                            M                    M: the marker, in the window's last entry
//
// A last-level table maps 2 MiB, a multiple of the stride, and windows are aligned: the entries of a window, its marker
// included, never straddle two tables, and with a stride of 32 KiB they fill exactly one 64-byte cache line.

import KernelMachine

/// The arithmetic of stack addresses.
///
/// Its formulas hold for every stack of an allocator, the boot stack included.
public struct StackGeometry: Equatable, Sendable {
  /// The size of a stack in bytes.
  public let size: Int
  /// The distance from one stack to the next in bytes, a power of two.
  public let stride: Int
  /// log2 of ``stride``.
  public let strideShift: Int
  /// What a slot's lowest address is above a multiple of the stride.
  public let phase: Int
  /// Where `thread_info` lies above the stack's base.
  public let threadInfoOffset: Int
  /// The bytes kept for `thread_info`.
  public let threadInfoSize: Int
  /// The bytes kept for a ``StackEndMarker``; 0 where there is a guard.
  public let endMarkerSize: Int

  /// Checks a configuration and derives the arithmetic from it.
  public init(_ configuration: StackConfiguration) throws(StackConfigurationError) {
    let size = configuration.size
    let maximum = StackConfiguration.maximumSize
    guard size & 0xfff == 0 else { throw .sizeNotPageMultiple(size) }
    guard size >= 4096, size <= maximum else { throw .sizeOutOfRange(size, maximum: maximum) }
    switch configuration.strategy {
    case .linear:
      guard size & (size - 1) == 0 else { throw .sizeNotPowerOfTwo(size) }
      guard configuration.phase == 0 else { throw .phaseOfLinearStacks(configuration.phase) }
      stride = size
    case .vmalloc, .growing:
      let guardMinimum = configuration.guardMinimum
      let largestGuard = StackConfiguration.maximumStride - size
      guard guardMinimum & 0xfff == 0 else { throw .guardNotPageMultiple(guardMinimum) }
      guard guardMinimum >= 4096, guardMinimum <= largestGuard else {
        throw .guardOutOfRange(guardMinimum, maximum: largestGuard)
      }
      let least = UInt(bitPattern: size + guardMinimum)
      stride = 1 &<< (UInt.bitWidth - (least - 1).leadingZeroBitCount)
    }
    let phase = configuration.phase
    guard phase & 0xfff == 0 else { throw .phaseNotPageMultiple(phase) }
    guard phase == 0 || (phase >= size && phase < stride) else {
      throw .phaseOutOfRange(phase, size: size, stride: stride)
    }
    let informationSize = configuration.threadInfoSize
    guard informationSize > 0, informationSize & 15 == 0 else { throw .threadInfoUnaligned(informationSize) }
    guard informationSize <= size / 4 else { throw .threadInfoTooLarge(informationSize, maximum: size / 4) }
    guard configuration.strategy != .growing || configuration.threadInfoPlacement == .top else {
      throw .threadInfoAtUnmappedBase
    }
    self.size = size
    self.phase = phase
    strideShift = stride.trailingZeroBitCount
    threadInfoSize = informationSize
    endMarkerSize = configuration.strategy == .linear ? StackEndMarker.byteCount : 0
    threadInfoOffset = configuration.threadInfoPlacement == .base ? 0 : size - informationSize
  }

  /// The number of pages of a stack.
  public var pageCount: Int { size &>> pageShift }

  /// The order of a linear stack's block of frames.
  var blockOrder: Int { strideShift &- pageShift }

  /// The unmapped bytes below each stack; 0 for linear stacks.
  public var guardSize: Int { stride &- size }

  /// The base of the stack that a stack pointer belongs to.
  ///
  /// The pointer may be anywhere in the slot: on the stack, at its top (an empty stack), or in the guard below it.
  public func stackBase(stackPointer: VirtualAddress) -> VirtualAddress {
    stackBase(containing: VirtualAddress(stackPointer.rawValue &- 1))
  }

  /// The base of the stack in whose slot a byte lies.
  public func stackBase(containing address: VirtualAddress) -> VirtualAddress {
    let slot = (address.rawValue &- UInt(bitPattern: phase)) & ~UInt(bitPattern: stride &- 1)
    return VirtualAddress(slot &+ UInt(bitPattern: phase &+ stride &- size))
  }

  /// The address of `thread_info`, from a stack pointer: how thread code finds `current`.
  public func threadInfo(stackPointer: VirtualAddress) -> VirtualAddress {
    stackBase(stackPointer: stackPointer) + threadInfoOffset
  }

  /// The bounds of the stack with this base.
  public func bounds(base: VirtualAddress) -> StackBounds {
    StackBounds(base: base, top: base + size)
  }

  /// The part of the stack with this base that a thread's stack frames may use: all but `thread_info` and the end marker.
  public func usableRange(base: VirtualAddress) -> StackBounds {
    threadInfoOffset == 0
      ? StackBounds(base: base + (threadInfoSize &+ endMarkerSize), top: base + size)
      : StackBounds(base: base + endMarkerSize, top: base + threadInfoOffset)
  }

  /// The end marker of the stack with this base; `nil` where a guard does what it is for.
  public func endMarker(base: VirtualAddress) -> StackEndMarker? {
    endMarkerSize == 0 ? nil : StackEndMarker(below: usableRange(base: base).base)
  }

  // MARK: Entries of a window

  /// Where the stack begins in its window, in bytes.
  var stackOffset: Int { phase == 0 ? stride &- size : phase &- size }

  /// How far the area begins below the first window, in bytes: the first slot's guard reaches down to it.
  var areaLead: Int { phase == 0 ? 0 : stride &- phase }

  /// The bytes of a window's entries: 8 for each page.
  var windowEntryBytes: Int { stride &>> StackPages.entryShift }

  /// Where in a window's entries the stack's first entry lies, in bytes.
  var stackEntryOffset: Int { stackOffset &>> StackPages.entryShift }

  /// Where in a window's entries the marker lies, in bytes: never one of the stack's own entries.
  var markerEntryOffset: Int { phase == 0 ? 0 : windowEntryBytes &- StackPages.entryBytes }
}
