// What must hold of a device tree and the board that is read from it.

import DeviceTree
import KernelStacks

/// Reads a tree as the kernel does, on a CPU of affinity 0, and compares the board with what the tree claims.
func judgeDeviceTree(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
  let reference = DeviceTreeReference(bytes)
  let board: Board
  do {
    board = Board(try FlattenedDeviceTree(in: bytes), bootAffinity: 0)
  } catch {
    return try require(reference == nil, "a tree without a mistake is read, not refused: \(error)")
  }
  try require(board.memoryCount <= Board.maximumRanges, "there are no more ranges of RAM than fit")
  try require(board.reservationCount <= Board.maximumRanges, "there are no more reservations than fit")
  if let error = board.error {
    return try require(reference == nil, "a tree without a mistake is read to its end: \(error)")
  }
  guard let reference else { throw Finding(description: "a tree with a mistake is refused") }
  try compare(board, with: reference)
  try judgeMap(of: board)
}

private func compare(_ board: Board, with reference: DeviceTreeReference) throws(Finding) {
  let memory = (0..<board.memoryCount).map { board.memory[$0] }
  try require(memory == Array(reference.memory.prefix(Board.maximumRanges)), "RAM is what the tree says it is")
  let reservations = (0..<board.reservationCount).map { board.reservations[$0] }
  try require(
    reservations == Array(reference.reservations.prefix(Board.maximumRanges)),
    "reservations are what the tree says they are")
  try require(
    board.rangesLeftOut == max(0, reference.memory.count - Board.maximumRanges)
      + max(0, reference.reservations.count - Board.maximumRanges), "what does not fit is counted")
  try require([UInt8](board.commandLine.bytes) == reference.commandLine, "the command line is the tree's")
  try require(board.cpuCount == reference.affinities.count, "each CPU is counted")
  try require(board.namesBootCPU == reference.affinities.contains(0), "the CPU that started is found")
  if board.namesBootCPU { try require(board.cpus[0].affinity == 0, "the CPU that started is the first") }
}

// Frame by frame would take for ever: memory may be as large as an address can say.
private func judgeMap(of board: Board) throws(Finding) {
  let ram = (0..<board.memoryCount).map { board.memory[$0] }
  let reserved = (0..<board.reservationCount).map { board.reservations[$0] }
  var expected: [ClosedRange<UInt>] = []
  var isRegular = true
  for range in ram {
    let (end, wraps) = range.start.addingReportingOverflow(range.byteCount)
    guard !wraps, end <= 1 << 48, range.node < PhysicalMemoryMap.nodeLimit else {
      isRegular = false
      continue
    }
    let pieces = frames(of: range, without: reserved.filter(\.isUnmapped))
    if pieces.isEmpty, !reserved.contains(where: { $0.isUnmapped && $0.overlaps(range) }) { isRegular = false }
    expected += pieces
  }
  expected.sort { $0.lowerBound < $1.lowerBound }
  if zip(expected, expected.dropFirst()).contains(where: { $0.upperBound >= $1.lowerBound }) {
    isRegular = false
  }
  if expected.count > PhysicalMemoryMap.memoryRangeLimit { isRegular = false }
  for range in reserved where !range.isUnmapped {
    let (end, wraps) = range.start.addingReportingOverflow(range.byteCount)
    if wraps || end > 1 << 48 { isRegular = false }
  }
  var map = PhysicalMemoryMap()
  do {
    try board.addMemory(to: &map)
  } catch {
    return try require(!isRegular, "memory in which nothing is wrong is not refused: \(error)")
  }
  let found = (0..<map.memoryRangeCount).map { map.memoryRange(at: $0) }
  for (range, next) in zip(found, found.dropFirst()) {
    try require(range.endFrame <= next.firstFrame, "ranges of RAM do not overlap")
  }
  for range in found {
    let bytes = BoardRange(
      start: range.firstFrame.physicalAddress.rawValue, byteCount: UInt(range.frameCount) * UInt(pageSize))
    try require(range.frameCount > 0 && ram.contains { $0.contains(bytes) }, "all RAM is RAM of the tree")
    try require(
      !reserved.contains { $0.isUnmapped && $0.overlaps(bytes) }, "what must not be mapped is no RAM")
  }
  if isRegular {
    try require(
      found.map { $0.firstFrame.number...$0.endFrame.number - 1 } == expected, "no frame of RAM is left out")
  }
  let kept = (0..<map.reservedRangeCount).map { map.reservedRange(at: $0) }
  for range in reserved where !range.isUnmapped {
    let first = range.start >> 12
    let last = (range.start + (range.byteCount - 1)) >> 12
    try require(
      kept.contains { $0.firstFrame.number <= first && $0.endFrame.number > last }, "what is reserved stays so")
  }
}

/// The whole frames of a range that share no byte with a hole, in ascending order, those that follow each other as one.
private func frames(of range: BoardRange, without holes: [BoardRange]) -> [ClosedRange<UInt>] {
  // From each byte on that is the first of a piece up to the hole that ends it.
  var pieces: [ClosedRange<UInt>] = []
  var next = range.start
  let last = range.start + (range.byteCount - 1)
  while true {
    let over = holes.filter { $0.contains(BoardRange(start: next, byteCount: 1)) }
    if let furthest = over.map({ $0.start.addingReportingOverflow($0.byteCount - 1) }).map({ $1 ? .max : $0 })
      .max()
    {
      guard furthest < last else { return pieces }
      next = furthest + 1
      continue
    }
    let end = holes.map(\.start).filter { $0 > next && $0 <= last }.min().map { $0 - 1 } ?? last
    // Of whole frames; 4,095 more than the first byte cannot overflow, for memory ends below 48 bits.
    let first = (next + 4095) >> 12
    if (end + 1) >> 12 > first { pieces.append(first...(end + 1) >> 12 - 1) }
    guard end < last else { return pieces }
    next = end + 1
  }
}
