// The sequence of operations that is run and counted in Swift and in C.
import AArch64Machine
import CAArch64
import CYardstick
import KernelStacks
import Scenarios

/// The number of stacks allocated and freed beyond those that the magazine keeps.
private let sample = 128
private let magazine = 8

/// The instructions of operations, and their number in the memory model.
private struct Sum {
  var instructions = 0
  var modelled = 0

  /// Adds the operation that was measured last.
  static func += (sum: inout Sum, instructions: Int) {
    sum.instructions += instructions
    sum.modelled = modelledSum(sum.modelled, latestModelledOperation())
  }

  /// The mean over so many operations, rounded up.
  func mean(of count: Int) -> Sum {
    Sum(instructions: (instructions + count - 1) / count, modelled: modelled)
  }
}

/// The cost of each operation, and the invalidations.
private struct Costs {
  var cachedAllocation = Sum()
  var caching = Sum()
  var allocation = Sum()
  var release = Sum()
  var invalidations = 0
  var frameAllocation = Sum()
  var frameRelease = Sum()
}

// Functions as in C: not inlined, with a refusal as a value. In a Swift kernel, the common path is inlined into the caller,
// which sees the error.
extension ThreadStackAllocator where M == AArch64, F == BuddyAllocator<AArch64>, A == VmallocArea<AArch64> {
  @inline(never)
  fileprivate func allocateStack() -> UInt {
    guard let stack = try? allocate(node: nil) else { return 0 }
    return stack.detach().rawValue
  }

  @inline(never)
  fileprivate func freeStack(_ stack: consuming ThreadStack) { free(stack) }
}

extension BuddyAllocator where M == AArch64 {
  @inline(never)
  fileprivate func allocateFrame() -> PageFrame {
    guard let frame = try? allocate(FrameRequest(purpose: .other)) else { return PageFrame(.max) }
    return frame
  }

  @inline(never)
  fileprivate func freeFrame(_ frame: PageFrame) -> Bool {
    do {
      try free(frame, order: 0)
      return true
    } catch { return false }
  }
}

/// The comparison of one allocator in Swift with the one in C.
struct YardstickRounds {
  /// The state of the allocator in C.
  let state: OpaquePointer

  func compare(_ strategy: StackStrategy, _ stacks: borrowing BareStacks<AArch64>) -> Bool {
    let machine = stacks.machine
    let empty = max(cost(machine) {}, cost(machine) {})
    guard let clearing = clearingCost(strategy, stacks, empty) else {
      return check("there is memory for the yardstick's clearing", false)
    }
    var swift = Costs()
    var c = Costs()
    // The first round brings tables and lists to their steady state.
    for _ in 0..<2 {
      guard let swiftRound = roundInSwift(stacks, machine, empty), let cRound = roundInC(machine, empty)
      else {
        return check("there is memory for the yardstick's stacks", false)
      }
      swift = swiftRound
      c = cRound
    }
    swift.cachedAllocation.instructions -= clearing
    c.cachedAllocation.instructions -= clearing
    var passed = write(
      "allocate cached stack, as in C", "allocate cached stack, in C", strategy, swift.cachedAllocation,
      c.cachedAllocation)
    passed =
      write(
        "free stack into cache, as in C", "free stack into cache, in C", strategy, swift.caching, c.caching)
      && passed
    passed =
      write(
        "allocate new stack from zeroed frames, as in C", "allocate new stack from zeroed frames, in C",
        strategy, swift.allocation, c.allocation) && passed
    return write(
      "free stack, cache full, as in C", "free stack, cache full, in C", strategy, swift.release, c.release,
      invalidations: (swift.invalidations, c.invalidations)) && passed
  }

  /// Compares single frames, all of which are free at first.
  func compare(_ strategy: StackStrategy, _ frames: borrowing BuddyAllocator<AArch64>) -> Bool {
    let machine = frames.machine
    let empty = max(cost(machine) {}, cost(machine) {})
    var swift = Costs()
    var c = Costs()
    for _ in 0..<2 {
      guard let swiftRound = framesInSwift(frames, machine, empty), let cRound = framesInC(machine, empty)
      else {
        return check("there is memory for the yardstick's frames", false)
      }
      swift = swiftRound
      c = cRound
    }
    let passed = write(
      "allocate frame, as in C", "allocate frame, in C", strategy, swift.frameAllocation, c.frameAllocation)
    return write("free frame, as in C", "free frame, in C", strategy, swift.frameRelease, c.frameRelease)
      && passed
  }

  /// The cost of the clearing in the allocation of a cached stack, which is the same in both.
  ///
  /// 0 if only dirty pages are cleared: the stacks here are not written to.
  private func clearingCost(
    _ strategy: StackStrategy, _ stacks: borrowing BareStacks<AArch64>, _ empty: Int
  ) -> Int? {
    if stacks.clearsOnlyDirtyPages { return 0 }
    let machine = stacks.machine
    let bytes = strategy == .growing ? pageSize : stacks.geometry.size
    let request = FrameRequest(order: 2, purpose: .other)
    guard let block = try? stacks.frames.allocate(request) else { return nil }
    let scratch = machine.linearAddress(of: block)
    var clearing = 0
    // The first round brings the code to its steady state.
    for _ in 0..<2 { clearing = cost(machine) { machine.clear(scratch, byteCount: bytes) } - empty }
    try? stacks.frames.free(block, order: 2)
    return clearing
  }

  private func write(
    _ name: StaticString, _ nameInC: StaticString, _ strategy: StackStrategy, _ swift: Sum, _ c: Sum,
    invalidations: (swift: Int, c: Int) = (0, 0)
  ) -> Bool {
    let limit = c.instructions * 11 / 10
    writeBenchmarkRow(
      name, strategy: strategy, instructions: swift.instructions, tlbInvalidations: invalidations.swift,
      live: 0, limit: limit, modelled: swift.modelled, to: Console())
    writeBenchmarkRow(
      nameInC, strategy: strategy, instructions: c.instructions, tlbInvalidations: invalidations.c, live: 0,
      modelled: c.modelled, to: Console())
    return swift.instructions <= limit
  }

  private func framesInSwift(
    _ frames: borrowing BuddyAllocator<AArch64>, _ machine: AArch64, _ empty: Int
  ) -> Costs? {
    var result = Costs()
    var kept = InlineArray<128, PageFrame>(repeating: PageFrame(.max))
    for index in 0..<sample {
      var frame = PageFrame(.max)
      result.frameAllocation += cost(machine) { frame = frames.allocateFrame() } - empty
      if frame == PageFrame(.max) { return nil }
      kept[index] = frame
    }
    for index in 0..<sample {
      let frame = kept[index]
      var isFreed = false
      result.frameRelease += cost(machine) { isFreed = frames.freeFrame(frame) } - empty
      if !isFreed { return nil }
    }
    return result.mean
  }

  private func framesInC(_ machine: AArch64, _ empty: Int) -> Costs? {
    var result = Costs()
    var kept = InlineArray<128, UInt64>(repeating: 0)
    for index in 0..<sample {
      var frame = UInt64.max
      result.frameAllocation += cost(machine) { frame = yardstick_allocate_frame(state) } - empty
      if frame == .max { return nil }
      kept[index] = frame
    }
    for index in 0..<sample {
      let frame = kept[index]
      var isFreed: Int32 = 0
      result.frameRelease += cost(machine) { isFreed = yardstick_free_frame(state, frame) } - empty
      if isFreed == 0 { return nil }
    }
    return result.mean
  }

  private func roundInSwift(_ stacks: borrowing BareStacks<AArch64>, _ machine: AArch64, _ empty: Int)
    -> Costs?
  {
    var result = Costs()
    var kept = InlineArray<136, UInt>(repeating: 0)
    for index in 0..<magazine + sample {
      stacks.frames.fillZeroedPool(budget: 16)
      var stack: UInt = 0
      let instructions =
        cost(machine) { stack = stacks.allocateStack() } - empty
      if stack == 0 { return nil }
      kept[index] = stack
      if index >= magazine { result.allocation += instructions }
    }
    // Demand ages until it keeps no stack in the depot.
    for _ in 0..<64 { stacks.age() }
    let before = machine.counters.tlbInvalidations
    for index in 0..<magazine + sample {
      guard let stack = try? stacks.stack(at: VirtualAddress(kept[index])) else { return nil }
      var owner: ThreadStack? = consume stack
      let instructions = cost(machine) { if let stack = owner.take() { stacks.freeStack(stack) } } - empty
      if index >= magazine { result.release += instructions }
    }
    result.invalidations = Int(machine.counters.tlbInvalidations &- before)
    for _ in 0..<64 {
      var stack: UInt = 0
      result.cachedAllocation +=
        cost(machine) { stack = stacks.allocateStack() } - empty
      guard stack != 0, let freed = try? stacks.stack(at: VirtualAddress(stack)) else { return nil }
      var owner: ThreadStack? = consume freed
      result.caching += cost(machine) { if let stack = owner.take() { stacks.freeStack(stack) } } - empty
    }
    stacks.age()
    return result.mean
  }

  private func roundInC(_ machine: AArch64, _ empty: Int) -> Costs? {
    var result = Costs()
    var kept = InlineArray<136, yardstick_stack>(repeating: yardstick_stack())
    for index in 0..<magazine + sample {
      yardstick_fill_zeroed(state, 16)
      var stack = yardstick_stack()
      let instructions = cost(machine) { stack = yardstick_allocate(state) } - empty
      if stack.word == 0 { return nil }
      kept[index] = stack
      if index >= magazine { result.allocation += instructions }
    }
    for _ in 0..<64 { yardstick_age(state) }
    let before = machine.counters.tlbInvalidations
    for index in 0..<magazine + sample {
      let stack = kept[index]
      let instructions = cost(machine) { yardstick_free(state, stack) } - empty
      if index >= magazine { result.release += instructions }
    }
    result.invalidations = Int(machine.counters.tlbInvalidations &- before)
    for _ in 0..<64 {
      var stack = yardstick_stack()
      result.cachedAllocation += cost(machine) { stack = yardstick_allocate(state) } - empty
      if stack.word == 0 { return nil }
      result.caching += cost(machine) { yardstick_free(state, stack) } - empty
    }
    yardstick_complete(state)
    if yardstick_lost_count(state) != 0 { return nil }
    return result.mean
  }
}

extension Costs {
  /// The means of sums over a round.
  fileprivate var mean: Costs {
    Costs(
      cachedAllocation: cachedAllocation.mean(of: 64), caching: caching.mean(of: 64),
      allocation: allocation.mean(of: sample), release: release.mean(of: sample),
      invalidations: invalidations, frameAllocation: frameAllocation.mean(of: sample),
      frameRelease: frameRelease.mean(of: sample))
  }
}

@inline(__always)
private func cost(_ machine: AArch64, _ body: () -> Void) -> Int {
  let state = ca_disable_interrupts()
  let before = retiredInstructions(machine)
  body()
  let after = retiredInstructions(machine)
  ca_restore_interrupts(state)
  return Int(after &- before)
}
