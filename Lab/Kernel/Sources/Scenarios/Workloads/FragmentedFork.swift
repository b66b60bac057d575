// The scenario `fragmented-fork`: break free memory into pieces, then fork until memory ends.

import KernelProcesses
import KernelStacks
import SystemCallInterface
import UserPrograms

func runFragmentedFork<Host: ScenarioHost>(
  _ options: ScenarioOptions, in processes: borrowing Processes<Host.Parts>, host: Host
) -> Bool {
  processes.settle()
  let freeAtStart = processes.frames.freeFrames
  // A report says itself how much is free.
  let most =
    options.freeBlocks == nil ? processes.exhaustibleFrames(options) * 100 / options.freeSharePercent : .max
  let surplus = SurplusMemory(beyond: most, of: processes)
  defer { surplus.release(in: processes) }

  // Three pictures of memory: before the first fork, at the first failure, after everything was given back.
  let maps: FrameMaps
  do {
    maps = try FrameMaps(of: processes)
  } catch {
    writeError(error, to: host.console)
    return false
  }
  let first: TaskPointer
  do {
    first = try processes.createFirst(host.programImage)
  } catch {
    maps.release(in: processes)
    writeError(error, to: host.console)
    return false
  }
  var replayed = BlockCounts()
  do throws(BrokenMemoryError) {
    replayed = try breakMemory(of: processes, options)
  } catch {
    processes.destroyAll()
    maps.release(in: processes)
    writeError(error, to: host.console)
    return false
  }

  let freeBefore = processes.frames.freeFrames
  let largestBefore = processes.frameAllocator.largestFreeOrder
  let unusable = processes.frameAllocator.unusableFreeSpacePermille(order: 2)
  processes.takeFrameMap(into: maps.before)
  processes.resetFigures()
  processes.beginRecord(unit: "forks", total: freeBefore / 9, mapAtFailure: maps.atFailure)

  host.run(first, ProgramArguments(.forkUntilFailure, seed: options.seed), in: processes)

  let figures = processes.figures
  let record = processes.record
  let (end, status) = (first.pointee.end, first.pointee.exitStatus)
  let leftBehind = processes.destroyAll()
  processes.settle()
  processes.takeFrameMap(into: maps.after)
  processes.releaseBallast()
  surplus.release(in: processes)

  let succeeded = processes.noted(.forksSucceeded)
  let stackOrder =
    (options.stackSize / pageSize - 1).bitWidth - (options.stackSize / pageSize - 1).leadingZeroBitCount
  var checks = ScenarioChecks(host.console)
  checks.check("the first process ran to its end and found nothing wrong", end == .exited && status == 0)
  checks.check("memory ended while forking", figures.firstFailure != nil)
  checks.check("every child ended with its own number", processes.noted(.childrenVerified) == succeeded)
  checks.check("every child was reaped", leftBehind == 0)
  switch options.strategy {
  case .linear where stackOrder > largestBefore:
    checks.check("no fork succeeded with contiguous stacks", succeeded == 0)
  case .linear:
    break
  default:
    checks.check(
      "forks succeeded until less was free than a fork takes",
      succeeded > 0 && record.freeFramesAtFailure < figures.largestFramesPerFork
        || succeeded == 0 && freeBefore < leastFramesForFork)
  }

  var json = JSONWriter(host.console)
  json.beginResult(options, host, in: processes)
  if let usable = options.usableBlocks ?? options.freeBlocks {
    json.field("freeBlocks", replayed)
    json.field("usableBlocks", usable)
  } else {
    json.field("largestFreeOrder", options.largestFreeOrder)
    json.field("freeSharePercent", options.freeSharePercent)
  }
  json.field("freeBytesBefore", freeBefore * pageSize)
  json.field("largestFreeBlockBytes", largestBefore < 0 ? 0 : pageSize << largestBefore)
  json.field("unusableFreeIndex", permille: unusable)
  json.field("forksAttempted", processes.noted(.forksAttempted))
  json.field("forksSucceeded", succeeded)
  if let failure = figures.firstFailure {
    json.field("firstFailure", describing: failure)
  } else {
    json.nullField("firstFailure")
  }
  json.field("framesPerFork", figures.largestFramesPerFork)
  json.field("freeBytesAtFailure", record.freeFramesAtFailure * pageSize)
  json.field("stackBytes", record.stackBytesAtFailure)
  json.beginObject("frameMaps")
  json.field("before", describing: FrameMapText(map: maps.before))
  json.field("atFailure", describing: FrameMapText(map: maps.atFailure))
  json.field("after", describing: FrameMapText(map: maps.after))
  json.endObject()
  maps.release(in: processes)
  let leaked = freeAtStart - processes.frames.freeFrames
  json.frameBalance(before: freeAtStart, leaked: leaked)
  json.end()
  checks.check("no frame was lost", leaked == 0)
  return checks.allHeld
}

/// Fewer frames than this may be too few for a single fork: a stack, tables, and pages of the process.
private let leastFramesForFork = 16

/// Why memory is not broken as asked.
private enum BrokenMemoryError: Error, TextDescribable {
  case fragmentation(FragmentationError)
  case replay(MemoryReplayError)

  func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .fragmentation(let error): error.write(to: &sink)
    case .replay(let error): error.write(to: &sink)
    }
  }
}

/// Leaves the blocks of a report free, or a share of memory in small pieces; returns the blocks that were free for the report.
private func breakMemory<Parts: ScenarioParts>(
  of processes: borrowing Processes<Parts>, _ options: ScenarioOptions
) throws(BrokenMemoryError) -> BlockCounts {
  if let blocks = options.freeBlocks {
    do {
      return try processes.arrange(blocks, usable: options.usableBlocks ?? blocks)
    } catch { throw .replay(error) }
  }
  do {
    _ = try processes.fragment(
      largestFreeOrder: options.largestFreeOrder, freeSharePercent: options.freeSharePercent, seed: options.seed
    )
  } catch { throw .fragmentation(error) }
  return BlockCounts()
}

extension JSONWriter {
  /// Writes a key and the numbers of blocks, from order 0.
  fileprivate mutating func field(_ key: StaticString, _ blocks: BlockCounts) {
    beginNumbers(key)
    for order in 0..<BlockCounts.orderCount { number(blocks[order]) }
    endNumbers()
  }
}

/// Memory for three pictures of memory, in one block of frames.
struct FrameMaps {
  private let block: PageFrame
  private let order: Int
  /// Before the first fork.
  let before: FrameMap
  /// At the first failure.
  let atFailure: FrameMap
  /// When everything was given back.
  let after: FrameMap

  init<Parts: ScenarioParts>(of processes: borrowing Processes<Parts>) throws(FrameSourceError) {
    let span = processes.frameSpan
    let most = pageSize << BuddyAllocator<Parts.M>.maximumOrder
    var shift = 0
    while 3 * FrameMap.letterCount(span, shift) > most { shift += 1 }
    let count = FrameMap.letterCount(span, shift)
    var order = 0
    while pageSize << order < 3 * count { order += 1 }
    self.order = order
    block = try processes.frames.allocate(FrameRequest(order: order, purpose: .metadata))
    let letters = processes.machine.pointer(to: block.physicalAddress).assumingMemoryBound(to: UInt8.self)
    before = FrameMap(letters: letters, frameSpan: span, groupShift: shift)
    atFailure = FrameMap(letters: letters + count, frameSpan: span, groupShift: shift)
    after = FrameMap(letters: letters + 2 * count, frameSpan: span, groupShift: shift)
    // Without a failure there is no picture of one.
    atFailure.letters.initialize(repeating: UInt8(ascii: "x"), count: count)
  }

  func release<Parts: ScenarioParts>(in processes: borrowing Processes<Parts>) {
    returnFrame(block, order: order, to: processes.frames)
  }
}

extension Processes where Parts: ScenarioParts {
  /// Forgets the last run's notes and gets ready for the next one's.
  borrowing func beginRecord(unit: StaticString, total: Int, mapAtFailure: FrameMap? = nil) {
    var record = ScenarioRecord()
    record.unit = unit
    record.total = total
    record.mapAtFailure = mapAtFailure
    workload.pointee.record = record
  }

  /// What was noted and measured since ``beginRecord(unit:total:mapAtFailure:)``.
  var record: ScenarioRecord { workload.pointee.record }
}
