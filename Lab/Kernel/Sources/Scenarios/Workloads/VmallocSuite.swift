// The scenario `vmalloc-suite`: workloads for the vmalloc area, on each CPU the same number of rounds at once.
//
// What an operation costs is measured alone where there is one CPU. The counter of instructions counts those of all CPUs,
// so with several each workload's total is divided by its operations: writing to the pages and the loop are in it.

import KernelProcesses
import KernelStacks
import SeededRandom

func runVmallocSuite<Host: ScenarioHost>(
  _ options: ScenarioOptions, in processes: borrowing Processes<Host.Parts>, host: Host
) -> Bool {
  // The instructions of all CPUs are counted, and those of idle ones are not the workloads'.
  processes.frameAllocator.pauseClearing()
  defer { processes.frameAllocator.resumeClearing() }
  processes.reclaim()
  let freeAtStart = processes.frames.freeFrames
  let suite: VmallocSuite<Host.Parts>
  do {
    suite = try VmallocSuite(options, cpuCount: min(host.usableCPUs, 8), processes)
  } catch {
    writeError(error, to: host.console)
    return false
  }
  var checks = ScenarioChecks(host.console)
  var json = JSONWriter(host.console)
  for index in 0..<VmallocWorkload.count {
    suite.run(VmallocWorkload(rawValue: index)!, in: processes, host: host)
    host.writeProgress(Int(index) + 1, of: Int(VmallocWorkload.count), "workloads")
  }
  suite.releaseAddresses(processes)
  processes.reclaim()
  let leaked = freeAtStart - processes.frames.freeFrames - suite.frameCount

  var damaged = 0
  var failedFrees = 0
  var wronglyRefused = 0
  var worst = 0
  for index in 0..<Int(VmallocWorkload.count) {
    let result = suite.results[index]
    damaged += result.sum.damaged
    failedFrees += result.sum.failedFrees
    wronglyRefused += result.sum.wronglyRefused
    if VmallocWorkload(rawValue: UInt8(index))!.isSmall { worst = max(worst, result.sum.release.worst) }
  }
  checks.check("what fits was allocated", wronglyRefused == 0)
  checks.check("every area read as zero, and kept what was written", damaged == 0)
  checks.check("every area was freed", failedFrees == 0)
  if suite.cpuCount == 1 {
    checks.check("no free of up to eight pages took more than 5,000 instructions", worst <= 5000)
  }
  checks.check("no frame was lost", leaked == 0)

  json.beginResult(options, host, in: processes)
  json.field("cpus", suite.cpuCount)
  json.field("loops", options.operations)
  json.beginObject("workloads")
  for index in 0..<VmallocWorkload.count {
    suite.write(VmallocWorkload(rawValue: index)!, to: &json)
  }
  json.endObject()
  json.field("worstSmallFree", worst)
  json.frameBalance(before: freeAtStart, leaked: leaked)
  json.end()
  suite.release(processes)
  return checks.allHeld
}

/// What a workload came to, on all CPUs.
struct VmallocWorkloadResult {
  var sum = VmallocWorkloadFigures()
  var standing = 0
  var operations = 0
  /// Of the whole workload, what stands around not counted.
  var instructions = 0
  var lockAcquisitions = 0
  var tlbInvalidations = 0
  var tlbInstructions = 0
}

/// The memory of a run, and how each workload is run.
struct VmallocSuite<Parts: ScenarioParts> {
  typealias M = Parts.M

  let cpuCount: Int
  let loops: Int
  let seed: UInt64
  private let empty: Cost
  private let standingLimit: Int
  /// Figures of each CPU, then results; in one frame.
  private let frame: PageFrame
  private let figures: UnsafeMutablePointer<VmallocWorkloadFigures>
  let results: UnsafeMutablePointer<VmallocWorkloadResult>
  /// The addresses of what stands around, and of what lay between.
  private let block: PageFrame
  private let addresses: UnsafeMutablePointer<VirtualAddress>

  private static var blockOrder: Int { 7 }
  /// Frames that the suite itself holds when its results are written.
  var frameCount: Int { 1 }
  private static var resultsOffset: Int { 2560 }

  init(
    _ options: ScenarioOptions, cpuCount: Int, _ processes: borrowing Processes<Parts>
  ) throws(FrameSourceError) {
    let machine = processes.machine
    let frames = processes.frames.freeFrames
    self.cpuCount = cpuCount
    loops = options.operations
    seed = options.seed
    // Twice as many are made as stay, each with a page; the rest is for tables and for what the rounds take.
    standingLimit = min(frames * 3 / 8 / 2, (pageSize << Self.blockOrder) / 16)
    frame = try processes.frames.allocate(FrameRequest(purpose: .metadata, cleared: true))
    do {
      block = try processes.frames.allocate(FrameRequest(order: Self.blockOrder, purpose: .metadata))
    } catch {
      returnFrame(frame, to: processes.frames)
      throw error
    }
    let memory = machine.pointer(to: frame.physicalAddress)
    figures = memory.bindMemory(to: VmallocWorkloadFigures.self, capacity: 8)
    results = (memory + Self.resultsOffset).bindMemory(
      to: VmallocWorkloadResult.self, capacity: Int(VmallocWorkload.count))
    addresses = machine.pointer(to: block.physicalAddress).assumingMemoryBound(to: VirtualAddress.self)
    _ = StackBenchmark<M>.measured(machine, nothing: Cost()) {}
    empty = StackBenchmark<M>.measured(machine, nothing: Cost()) {}
  }

  func releaseAddresses(_ processes: borrowing Processes<Parts>) {
    returnFrame(block, order: Self.blockOrder, to: processes.frames)
  }

  func release(_ processes: borrowing Processes<Parts>) { returnFrame(frame, to: processes.frames) }

  // MARK: One workload

  func run<Host: ScenarioHost>(
    _ workload: VmallocWorkload, in processes: borrowing Processes<Parts>, host: Host
  ) where Host.Parts == Parts {
    var result = VmallocWorkloadResult()
    let wanted = min(workload.standingAreas(cpuCount: cpuCount), standingLimit)
    let share = wanted / cpuCount
    for cpu in 0..<cpuCount { figures[cpu] = VmallocWorkloadFigures() }
    host.runOnEachCPU(cpuCount, in: processes, CPUWork(suite: self, step: .prepare(workload, share: share)))
    result.standing = share * cpuCount

    let before = processes.machine.counters
    host.runOnEachCPU(cpuCount, in: processes, CPUWork(suite: self, step: .makeRounds(workload)))
    let after = processes.machine.counters
    result.instructions = Int(after.instructions &- before.instructions)
    result.lockAcquisitions = Int(after.lockAcquisitions &- before.lockAcquisitions)
    result.tlbInvalidations = Int(after.tlbInvalidations &- before.tlbInvalidations)
    result.tlbInstructions = Int(after.tlbInstructions &- before.tlbInstructions)

    host.runOnEachCPU(cpuCount, in: processes, CPUWork(suite: self, step: .release(share: share)))
    for cpu in 0..<cpuCount {
      let figures = figures[cpu]
      result.sum.allocation.add(figures.allocation)
      result.sum.release.add(figures.release)
      result.sum.refused += figures.refused
      result.sum.wronglyRefused += figures.wronglyRefused
      result.sum.damaged += figures.damaged
      result.sum.failedFrees += figures.failedFrees
    }
    result.operations = result.sum.allocation.count + result.sum.release.count
    results[Int(workload.rawValue)] = result
    processes.reclaim()
  }

  /// What all CPUs do at once.
  enum Step {
    /// Each makes its share of what stands around.
    case prepare(VmallocWorkload, share: Int)
    /// Each makes its rounds.
    case makeRounds(VmallocWorkload)
    /// Each frees its share of what stands around.
    case release(share: Int)
  }

  /// Does one CPU's part.
  func carryOut(_ step: Step, _ cpu: Int, _ processes: borrowing Processes<Parts>) {
    switch step {
    case .prepare(let workload, let share): prepare(workload, cpu, share, processes)
    case .makeRounds(let workload): makeRounds(workload, cpu, processes)
    case .release(let share):
      for index in cpu * share..<(cpu + 1) * share { free(addresses[index], cpu, processes) }
    }
  }

  /// Makes what stands around; with gaps, every other area is freed again.
  private func prepare(
    _ workload: VmallocWorkload, _ cpu: Int, _ share: Int, _ processes: borrowing Processes<Parts>
  ) {
    let gaps = standingLimit + cpu * share
    for index in 0..<share {
      addresses[cpu * share + index] = allocate(1, pageSize, cpu, processes) ?? VirtualAddress(0)
      if workload.leavesGaps {
        addresses[gaps + index] = allocate(1, pageSize, cpu, processes) ?? VirtualAddress(0)
      }
    }
    if workload.leavesGaps {
      for index in 0..<share { free(addresses[gaps + index], cpu, processes) }
    }
  }

  private func allocate(
    _ pages: Int, _ alignment: Int, _ cpu: Int, _ processes: borrowing Processes<Parts>
  ) -> VirtualAddress? {
    let address = tryAllocation(pages, alignment, processes)
    if address == nil { figures[cpu].wronglyRefused += 1 }
    return address
  }

  private func free(_ address: VirtualAddress, _ cpu: Int, _ processes: borrowing Processes<Parts>) {
    do {
      try processes.arena.vfree(address, frames: processes.frames)
    } catch {
      figures[cpu].failedFrees += 1
    }
  }

  private func makeRounds(_ workload: VmallocWorkload, _ cpu: Int, _ processes: borrowing Processes<Parts>) {
    var random = SplitMix64(seed: seed &+ UInt64(cpu) &* 0x9e37_79b9_7f4a_7c15)
    var held = (VirtualAddress(0), 0)
    for _ in 0..<workload.rounds(loops) {
      var number = 0
      var isHeld = false
      while let (pages, alignment) = workload.request(number, &random) {
        number += 1
        guard let address = measuredAllocation(pages, alignment, cpu, processes) else { continue }
        if workload == .longBusyList && number == 1 {
          held = (address, pages)
          isHeld = true
        } else {
          measuredFree(address, pages, cpu, processes)
        }
      }
      if isHeld { measuredFree(held.0, held.1, cpu, processes) }
    }
  }

  private func tryAllocation(
    _ pages: Int, _ alignment: Int, _ processes: borrowing Processes<Parts>
  ) -> VirtualAddress? {
    try? processes.arena.vmalloc(
      size: pages * pageSize, alignment: alignment, caller: "vmalloc-suite", frames: processes.frames)
  }

  private func measuredAllocation(
    _ pages: Int, _ alignment: Int, _ cpu: Int, _ processes: borrowing Processes<Parts>
  ) -> VirtualAddress? {
    var address: VirtualAddress?
    var cost = Cost()
    cost.count = 1
    if cpuCount == 1 {
      cost = StackBenchmark<M>.measured(processes.machine, nothing: empty) {
        address = tryAllocation(pages, alignment, processes)
      }
    } else {
      address = tryAllocation(pages, alignment, processes)
    }
    guard let address else {
      figures[cpu].refused += 1
      let range = processes.arena.range
      if Self.canHold(alignment, range, onEachOf: cpuCount) { figures[cpu].wronglyRefused += 1 }
      return nil
    }
    figures[cpu].allocation.add(cost)
    mark(address, pages, cpu, processes) { word, value in
      let wasZero = word.pointee == 0
      word.pointee = value
      return wasZero
    }
    return address
  }

  private func measuredFree(
    _ address: VirtualAddress, _ pages: Int, _ cpu: Int, _ processes: borrowing Processes<Parts>
  ) {
    mark(address, pages, cpu, processes) { word, value in word.pointee == value }
    var cost = Cost()
    cost.count = 1
    if cpuCount == 1 {
      cost = StackBenchmark<M>.measured(processes.machine, nothing: empty) { free(address, cpu, processes) }
    } else {
      free(address, cpu, processes)
    }
    figures[cpu].release.add(cost)
  }

  /// Visits the last word of the first and the last page, by the linear map.
  ///
  /// The tables are read without a lock: the area is in use, so its entries stay, and no lock is counted for it.
  private func mark(
    _ address: VirtualAddress, _ pages: Int, _ cpu: Int, _ processes: borrowing Processes<Parts>,
    _ body: (UnsafeMutablePointer<UInt64>, UInt64) -> Bool
  ) {
    var page = 0
    while page < pages {
      let place = address + (page * pageSize + pageSize - 8)
      if let frame = TranslationTables(kernelOf: processes.machine).translate(place)?.frame(of: place) {
        let memory = processes.machine.pointer(to: frame.physicalAddress) + (pageSize - 8)
        if !body(memory.assumingMemoryBound(to: UInt64.self), UInt64(place.rawValue)) {
          figures[cpu].damaged += 1
        }
      } else {
        figures[cpu].damaged += 1
      }
      page += max(1, pages - 1)
    }
  }

  /// Whether a range has an address for each CPU that is a multiple of the alignment, with a page and its guard above.
  ///
  /// Each CPU holds one area at a time. Where there are fewer addresses than CPUs, when each CPU is preempted decides whether
  /// the others hold them all.
  static func canHold(_ alignment: Int, _ range: VirtualAddressRange, onEachOf cpuCount: Int) -> Bool {
    let step = UInt(bitPattern: alignment)
    let first = (range.lowerBound.rawValue &+ (step &- 1)) & ~(step &- 1)
    let room = UInt(bitPattern: 2 * pageSize)
    // The chunks of small areas, the upper part of a wide range, have no place for large alignments.
    let end = range.upperBound.rawValue &- (1 << 30) &- room
    guard first >= range.lowerBound.rawValue, first < end else { return false }
    return (end - 1 - first) / step + 1 >= UInt(cpuCount)
  }

  // MARK: Results

  func write<Console: TextSink>(_ workload: VmallocWorkload, to json: inout JSONWriter<Console>) {
    let result = results[Int(workload.rawValue)]
    let operations = max(1, result.operations)
    json.beginObject(workload.name)
    json.field("standingAreas", result.standing)
    json.field("operations", result.operations)
    json.field("refused", result.sum.refused)
    if cpuCount == 1 {
      json.field("allocation", result.sum.allocation.mean)
      json.field("worstAllocation", result.sum.allocation.worst)
      json.field("free", result.sum.release.mean)
      json.field("worstFree", result.sum.release.worst)
    } else {
      json.nullField("allocation")
      json.nullField("worstAllocation")
      json.nullField("free")
      json.nullField("worstFree")
    }
    json.field("instructionsPerOperation", (result.instructions + operations - 1) / operations)
    json.field("locksPerOperation", permille: result.lockAcquisitions * 1000 / operations)
    json.field("tlbInvalidations", result.tlbInvalidations)
    json.field("tlbInstructions", result.tlbInstructions)
    json.endObject()
  }
}
