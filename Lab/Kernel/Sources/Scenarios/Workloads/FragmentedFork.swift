// The scenario `fragmented-fork`: break free memory into pieces, then fork until memory ends.

import KernelStacks
import UserPrograms

func runFragmentedFork<Host: ScenarioHost>(
  _ options: ScenarioOptions, in processes: borrowing Processes<Host.M>, host: Host
) -> Bool {
  processes.settle()
  let freeAtStart = processes.stacks.frames.freeFrames

  // Three pictures of memory: before the first fork, at the first failure, after everything was given back.
  let span = processes.frameSpan
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
  do {
    _ = try processes.fragment(
      largestFreeOrder: options.largestFreeOrder, freeSharePercent: options.freeSharePercent, seed: options.seed
    )
  } catch {
    processes.destroyAll()
    maps.release(in: processes)
    writeError(error, to: host.console)
    return false
  }

  let freeBefore = processes.stacks.frames.freeFrames
  let largestBefore = processes.stacks.frames.base.largestFreeOrder
  let unusable = processes.stacks.frames.base.unusableFreeSpacePermille(order: 2)
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

  let succeeded = processes.noted(.forksSucceeded)
  let stackOrder =
    (options.stackSize / pageSize - 1).bitWidth - (options.stackSize / pageSize - 1).leadingZeroBitCount
  var checks = ScenarioChecks(host.console)
  checks.check("the first process ran to its end and found nothing wrong", end == .exited && status == 0)
  checks.check("memory ended while forking", figures.firstFailure != nil)
  checks.check("every child ended with its own number", processes.noted(.childrenVerified) == succeeded)
  checks.check("every child was reaped", leftBehind == 0)
  switch options.strategy {
  case .linear where stackOrder > options.largestFreeOrder:
    checks.check("no fork succeeded with contiguous stacks", succeeded == 0)
  case .linear:
    break
  default:
    checks.check(
      "forks succeeded until less was free than a fork takes",
      succeeded > 0 && record.freeFramesAtFailure < figures.largestFramesPerFork)
  }

  var json = JSONWriter(host.console)
  json.beginResult(options, machine: host.machineName, in: processes)
  json.field("largestFreeOrder", options.largestFreeOrder)
  json.field("freeSharePercent", options.freeSharePercent)
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
  json.field("before", describing: FrameMapText(letters: maps.before, count: span))
  json.field("atFailure", describing: FrameMapText(letters: maps.atFailure, count: span))
  json.field("after", describing: FrameMapText(letters: maps.after, count: span))
  json.endObject()
  maps.release(in: processes)
  let leaked = freeAtStart - processes.stacks.frames.freeFrames
  json.frameBalance(before: freeAtStart, leaked: leaked)
  json.end()
  checks.check("no frame was lost", leaked == 0)
  return checks.allHeld
}

/// Memory for three pictures of memory, in one block of frames.
struct FrameMaps {
  private let block: PageFrame
  private let order: Int
  /// Before the first fork.
  let before: UnsafeMutablePointer<UInt8>
  /// At the first failure.
  let atFailure: UnsafeMutablePointer<UInt8>
  /// When everything was given back.
  let after: UnsafeMutablePointer<UInt8>

  init<M: PageTableMachine>(of processes: borrowing Processes<M>) throws(FrameSourceError) {
    var order = 0
    while pageSize << order < 3 * processes.frameSpan { order += 1 }
    self.order = order
    block = try processes.stacks.frames.allocate(FrameRequest(order: order, purpose: .metadata))
    before = processes.machine.pointer(to: block.physicalAddress).assumingMemoryBound(to: UInt8.self)
    atFailure = before + processes.frameSpan
    after = atFailure + processes.frameSpan
    // Without a failure there is no picture of one.
    atFailure.initialize(repeating: UInt8(ascii: "x"), count: processes.frameSpan)
  }

  func release<M: PageTableMachine>(in processes: borrowing Processes<M>) {
    returnFrame(block, order: order, to: processes.stacks.frames)
  }
}

extension Processes {
  /// Forgets the last run's notes and gets ready for the next one's.
  borrowing func beginRecord(unit: StaticString, total: Int, mapAtFailure: UnsafeMutablePointer<UInt8>? = nil) {
    var record = ScenarioRecord()
    record.unit = unit
    record.total = total
    record.mapAtFailure = mapAtFailure
    state.pointee.record = record
  }

  /// What was noted and measured since ``beginRecord(unit:total:mapAtFailure:)``.
  var record: ScenarioRecord { state.pointee.record }
}
