// Queries of a memory map: its ranges, its bounds, and its memory that is not reserved.

import KernelMachine

extension PhysicalMemoryMap {
  /// A range of RAM; `index` counts from 0 in ascending order of address.
  public func memoryRange(at index: Int) -> MemoryRange {
    precondition(index >= 0 && index < memoryRangeCount, "no such range of memory")
    return memory[index]
  }

  /// A reserved range; `index` counts from 0 in ascending order of address.
  ///
  /// It may lie outside RAM.
  public func reservedRange(at index: Int) -> ReservedRange {
    precondition(index >= 0 && index < reservedRangeCount, "no such reserved range")
    return reserved[index]
  }

  /// The lowest frame of RAM, or frame 0 when there is none.
  public var lowestFrame: PageFrame { memoryRangeCount == 0 ? PageFrame(0) : memory[0].firstFrame }

  /// The highest frame of RAM, or frame 0 when there is none.
  public var highestFrame: PageFrame {
    memoryRangeCount == 0 ? PageFrame(0) : memory[memoryRangeCount - 1].endFrame + -1
  }

  /// The number of frames of RAM that are not reserved.
  public var usableFrames: Int {
    var count = 0
    forEachUsableRunDescending { _, run in count += run.frameCount }
    return count
  }

  /// The lowest place in RAM outside reserved ranges where `byteCount` bytes fit, such as an allocator's metadata.
  ///
  /// - Returns: the address of the first of as many whole frames as are needed; `nil` when no run is long enough.
  /// - Complexity: O(ranges).
  public func lowestUnreserved(byteCount: Int, node: NodeID? = nil) -> PhysicalAddress? {
    guard byteCount > 0 else { return nil }
    let needed = (byteCount - 1) / pageSize + 1
    var found: PhysicalAddress?
    forEachUsableRunDescending { range, run in
      if run.frameCount >= needed, node == nil || memory[range].node == node {
        found = run.firstFrame.physicalAddress
      }
    }
    return found
  }

  /// Visits each maximal run of frames that are RAM and not reserved, from the highest address to the lowest.
  ///
  /// - Parameter body: gets the number of the range of RAM, and the run. A run never spans two ranges.
  func forEachUsableRunDescending(_ body: (Int, ReservedRange) -> Void) {
    var hole = reservedRangeCount - 1
    var index = memoryRangeCount - 1
    while index >= 0 {
      let range = memory[index]
      var end = range.endFrame
      while hole >= 0, reserved[hole].firstFrame >= end { hole -= 1 }
      while end > range.firstFrame {
        var runStart = range.firstFrame
        var next = runStart
        if hole >= 0, reserved[hole].endFrame > range.firstFrame {
          runStart = reserved[hole].endFrame
          next = max(reserved[hole].firstFrame, range.firstFrame)
          // A hole that reaches below this range is still needed for the range below.
          if reserved[hole].firstFrame >= range.firstFrame { hole -= 1 }
        }
        if runStart < end { body(index, ReservedRange(firstFrame: runStart, frameCount: end - runStart)) }
        end = next
      }
      index -= 1
    }
  }
}
