// Long random sequences against a model that is a dictionary of the live stacks and their owners' words.

import KernelStacks
import SeededRandom
import SimulatedMachine
import Testing

@Suite struct ReferenceModelTests {
  struct Case: CustomTestStringConvertible {
    var configuration: StackConfiguration
    var seed: UInt64
    var tracksDirtyPages = false
    var testDescription: String {
      "\(configuration.testDescription), seed \(seed)\(tracksDirtyPages ? ", dirty state" : "")"
    }
  }

  static let cases: [Case] = [
    Case(configuration: StackConfiguration(.linear, cachedStacksPerCPU: 2, depotStacks: 0), seed: 1),
    Case(configuration: StackConfiguration(.vmalloc, cachedStacksPerCPU: 2, retirementBatch: 4), seed: 2),
    Case(
      configuration: StackConfiguration(.vmalloc, size: 8192, cachedStacksPerCPU: 1, retirementBatch: 1),
      seed: 3),
    Case(configuration: StackConfiguration(.vmalloc, size: 4096, capacity: 150, retirementBatch: 7), seed: 4),
    Case(
      configuration: StackConfiguration(.vmalloc, size: 20480, capacity: 40, cachedStacksPerCPU: 3), seed: 5),
    Case(configuration: StackConfiguration(.vmalloc, size: 12288, phase: 12288, retirementBatch: 3), seed: 6),
    Case(
      configuration: StackConfiguration(
        .vmalloc, cachedStacksPerCPU: 5, depotStacks: 0, retirementBatch: 16), seed: 10),
    Case(configuration: StackConfiguration(.vmalloc, cachedStacksPerCPU: 0, depotStacks: 9), seed: 11),
    Case(
      configuration: StackConfiguration(.vmalloc, cachedStacksPerCPU: 3, depotStacks: 4, retirementBatch: 5),
      seed: 12, tracksDirtyPages: true),
    Case(
      configuration: StackConfiguration(.vmalloc, size: 24576, phase: 24576), seed: 13, tracksDirtyPages: true),
    Case(configuration: StackConfiguration(.vmalloc, guardMinimum: 20480, phase: 32768), seed: 7),
    Case(configuration: StackConfiguration(.vmalloc, phase: 16384, threadInfoPlacement: .top), seed: 8),
  ]

  @Test(arguments: cases)
  func `Stacks never overlap, keep what is written, come back zeroed, and all figures agree`(_ test: Case)
    throws
  {
    let world = try World(
      memoryBytes: 2 << 20, seed: test.seed, tracksDirtyPages: test.tracksDirtyPages)
    let machine = world.machine
    let stacks = try world.stacks(test.configuration)
    let size = test.configuration.size
    let pages = size / 4096
    var random = SplitMix64(seed: test.seed)
    var live: [(owner: Owner, word: UInt64, offset: Int)] = []
    var bases: Set<UInt> = []
    var refusals = 0
    for step in 0..<1500 {
      let note: Comment = "step \(step)"
      // Phases in which the number of stacks grows, and in which it shrinks.
      let growing = step / 150 % 2 == 0
      switch random.next(below: 20) {
      case 0:
        let held = world.ledger.heldFrames
        let given = stacks.reclaim(target: random.next(below: 40))
        #expect(world.ledger.heldFrames == held - given, note)
      case 1 where random.next(below: 3) == 0:
        let held = world.ledger.heldFrames
        let given = stacks.age()
        #expect(world.ledger.heldFrames == held - given, note)
      case 1 where random.next(below: 4) == 0:
        world.ledger.refuseRequest = random.next(below: 6) + 1
      case let choice where (choice < 13) == growing || live.isEmpty:
        let held = world.ledger.heldFrames
        let used = stacks.liveStackCount
        do {
          let owner = Owner(try stacks.allocate(node: nil))
          #expect(bases.insert(owner.base.rawValue).inserted, note)
          #expect(try machine.firstNonzero(owner.base, size: size, step: 64) == nil, note)
          let offset = random.next(below: size / 8) * 8
          let word = random.next() | 1
          try machine.store(word, to: owner.base + offset)
          live.append((owner, word, offset))
        } catch let error as ThreadStackError {
          refusals += 1
          #expect(stacks.liveStackCount == used && world.ledger.heldFrames <= held, note)
          switch error {
          case .frames(.refused(let refusal)):
            #expect(refusal.freeFrames <= world.ledger.buddy.freeFrames, note)
          case .slotsExhausted(let capacity): #expect(capacity == live.count, note)
          default: Issue.record("\(error) at \(step)")
          }
        }
      default:
        guard !live.isEmpty else { continue }
        let (owner, word, offset) = live.remove(at: random.next(below: live.count))
        #expect(try machine.load(owner.base + offset, as: UInt64.self) == word, note)
        bases.remove(owner.base.rawValue)
        stacks.free(owner.take())
      }
      world.ledger.refuseRequest = step % 10 == 9 ? nil : world.ledger.refuseRequest
      stacks._checkInvariants()
      #expect(stacks.depotStackCount <= test.configuration.depotStacks, note)
      #expect(stacks.liveStackCount == live.count, note)
      #expect(stacks.kernelStackKiB(on: NodeID(0)) == live.count * size / 1024, note)
      let all = live.count + stacks.cachedStackCount + stacks.retiredStackCount
      #expect(world.ledger.frames(for: .threadStack) == all * pages, note)
    }
    #expect(refusals > 0)
    for (owner, _, _) in live { stacks.free(owner.take()) }
    stacks.reclaim(target: .max)
    stacks._checkInvariants()
    #expect(world.ledger.frames(for: .threadStack) == 0 && world.ledger.frames(for: .pageTable) == 0)
    #expect(world.simulation.violations.isEmpty)
  }
}
