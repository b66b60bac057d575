// Shrinking against a model, on several CPUs: threads run, sleep, are shrunk, woken while they are shrunk, and grow again.

import KernelStacks
import SeededRandom
import SimulatedMachine
import Testing

@Suite struct ShrinkModelTests {
  @Test(arguments: 1...24)
  func `Shrunk threads keep what lies above their stack pointers, and zeroes below, as memory ends`(
    seed: UInt64
  ) throws {
    let cpuCount = 3
    let world = try World(memoryBytes: 1 << 20, cpuCount: cpuCount, seed: seed)
    let shared = ShrinkingThreads(
      try world.stacks(
        // No more stacks than memory could hold to their ends: the liveness condition.
        StackConfiguration(
          .growing, capacity: 64, cachedStacksPerCPU: Int(seed % 3), retirementBatch: 1 + Int(seed % 5))),
      note: "seed \(seed)")
    let held = world.ledger.heldFrames
    try world.simulation.run(
      (0..<cpuCount).map { cpu in
        { machine in
          var random = SplitMix64(seed: seed &* 257 &+ UInt64(cpu))
          for _ in 0..<300 { try shared.step(machine, world, &random) }
        }
      })
    shared.stacks._checkInvariants()
    #expect(shared.claimed.isEmpty && shared.shrunk > 0 && shared.restored > 0, "seed \(seed)")
    let expected = shared.sleeping.reduce(0) { $0 + $1.words.count }
    #expect(shared.stacks.kernelStackKiB(on: NodeID(0)) == expected * 4, "seed \(seed)")
    for thread in shared.sleeping {
      #expect(shared.stacks.highWaterPageCount(thread.owner.base) == thread.deepest, "seed \(seed)")
      try shared.verify(thread, world.machine)
    }
    shared.ballast.giveBack(.max, to: world)
    for thread in shared.sleeping {
      #expect(shared.stacks.prepareToRun(thread.owner.base) == true, "seed \(seed)")
      shared.stacks.free(thread.owner.take())
    }
    shared.sleeping = []
    for cpu in 0..<cpuCount {
      world.simulation.onCPU(cpu) { _ in
        _ = shared.stacks.reclaim(target: .max)
        shared.stacks.fillReserve()
      }
    }
    shared.stacks._checkInvariants()
    #expect(world.ledger.heldFrames == held, "seed \(seed)")
    #expect(world.simulation.violations.isEmpty, "seed \(seed)")
  }
}

/// A thread in the model.
private final class ModelThread {
  let owner: Owner
  /// The word that it wrote to each page, from the top; one for each mapped page.
  var words: [UInt64] = [0]
  /// Its saved stack pointer, in bytes above the base.
  var stackPointer = 16000
  /// The most pages that it ever had.
  var deepest = 1
  init(_ owner: Owner) { self.owner = owner }
}

/// A shrinker's claim of a thread.
private final class Claim {
  let thread: ModelThread
  init(_ thread: ModelThread) { self.thread = thread }
}

/// The state that several simulated CPUs share; only one executes at a time.
///
/// A thread is in one of the lists, or owned by the CPU that has taken it out. One that is being shrunk is in `claimed`; a
/// CPU that is to run it may take it out of there until the shrinker does. A claim is a separate object: the thread may
/// have been taken, run, slept and been claimed by another shrinker, whose invalidation has not completed.
private final class ShrinkingThreads: @unchecked Sendable {
  let stacks: TestStacks
  let note: Comment
  var sleeping: [ModelThread] = []
  var claimed: [Claim] = []
  var shrunk = 0
  var restored = 0
  let ballast = Ballast()

  init(_ stacks: consuming TestStacks, note: Comment) {
    self.stacks = stacks
    self.note = note
  }

  func step(_ machine: Simulated, _ world: World, _ random: inout SplitMix64) throws {
    switch random.next(below: 14) {
    case 0..<4:
      guard let stack = try? stacks.allocate(node: nil) else {
        try shrink(machine, &random)
        return
      }
      sleeping.append(ModelThread(Owner(stack)))
    case 4 where !sleeping.isEmpty:
      let thread = sleeping.remove(at: random.next(below: sleeping.count))
      try verify(thread, machine)
      stacks.free(thread.owner.take())
    case 5: ballast.take(random.next(below: 24), from: world)
    case 6: ballast.giveBack(random.next(below: 24), to: world)
    case 7, 8: try shrink(machine, &random)
    default:
      if let thread = wanted(&random) {
        try verify(thread, machine)
        if stacks.prepareToRun(thread.owner.base) { try run(thread, machine, &random) }
        sleeping.append(thread)
      }
    }
  }

  /// A thread that is to run: one that sleeps, or one that is being shrunk and gets its pages back.
  private func wanted(_ random: inout SplitMix64) -> ModelThread? {
    if !claimed.isEmpty {
      let thread = claimed.remove(at: random.next(below: claimed.count)).thread
      restored += stacks.restoreRetiredPages(of: thread.owner.base)
      return thread
    }
    return sleeping.isEmpty ? nil : sleeping.remove(at: random.next(below: sleeping.count))
  }

  /// Claims some threads, takes their dead pages, and releases those of threads that no CPU has taken meanwhile.
  private func shrink(_ machine: Simulated, _ random: inout SplitMix64) throws {
    var batch = ShrinkBatch()
    var mine: [Claim] = []
    var pages = 0
    for _ in 0..<random.next(below: 5) + 1 where !sleeping.isEmpty {
      let thread = sleeping.remove(at: random.next(below: sleeping.count))
      let pointer = thread.owner.base + thread.stackPointer
      let dead = max(0, thread.words.count - keptPages(thread))
      let retired = stacks.retireDeadPages(of: thread.owner.base, below: pointer, into: &batch)
      #expect(retired == dead, note)
      pages += retired
      let claim = Claim(thread)
      mine.append(claim)
      claimed.append(claim)
    }
    #expect(batch.pageCount == pages, note)
    stacks.completeInvalidation(of: &batch)
    for claim in mine {
      guard let index = claimed.firstIndex(where: { $0 === claim }) else { continue }
      claimed.remove(at: index)
      let thread = claim.thread
      let dead = max(0, thread.words.count - keptPages(thread))
      let released = stacks.releaseRetiredPages(of: thread.owner.base)
      #expect(released == dead, note)
      thread.words.removeLast(dead)
      shrunk += dead
      sleeping.append(thread)
    }
  }

  /// The number of live pages, from the top down to that of the stack pointer.
  private func keptPages(_ thread: ModelThread) -> Int { max(1, 4 - thread.stackPointer / 4096) }

  /// The thread goes to a few depths, then sleeps with its stack pointer somewhere above the deepest.
  private func run(_ thread: ModelThread, _ machine: Simulated, _ random: inout SplitMix64) throws {
    for _ in 0..<random.next(below: 3) + 1 {
      let depth = random.next(below: 4)
      let address = thread.owner.base + ((3 - depth) * 4096 + 4088)
      let word = random.next() | 1
      if depth >= thread.words.count {
        #expect(throws: SimulatedFault.self, note) { try machine.store(word, to: address) }
        let interrupts = machine.disableInterrupts()
        let growth = stacks.grower.grow(at: address, runningOn: thread.owner.base)
        machine.restoreInterrupts(interrupts)
        #expect(growth == .grown, note)
        // Its pages read as zero, wherever their frames come from.
        for page in thread.words.count...depth {
          let start = thread.owner.base + (3 - page) * 4096
          #expect(try machine.firstNonzero(start, size: 4096, step: 504) == nil, note)
          thread.words.append(0)
        }
      }
      try machine.store(word, to: address)
      // A second word, where a stack pointer may come to lie.
      try machine.store(word, to: address - 4088)
      thread.words[depth] = word
      thread.deepest = max(thread.deepest, thread.words.count)
      try verify(thread, machine)
    }
    let lowest = (4 - thread.words.count) * 4096
    thread.stackPointer =
      random.next(below: 4) == 0
      ? lowest + random.next(below: thread.words.count) * 4096
      : lowest + random.next(below: (16384 - lowest) / 16) * 16
  }

  /// Checks that the words above the stack pointer are still there.
  func verify(_ thread: ModelThread, _ machine: Simulated) throws {
    for (depth, word) in thread.words.enumerated() {
      let address = thread.owner.base + ((3 - depth) * 4096 + 4088)
      #expect(try machine.load(address, as: UInt64.self) == word, note)
    }
  }
}
