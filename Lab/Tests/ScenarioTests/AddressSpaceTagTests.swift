// ASIDs of one generation after the other, on the machine that tracks what each CPU may have cached under each ASID.

import KernelProcesses
import KernelStacks
import Scenarios
import SeededRandom
import SimulatedMachine
import SimulatedScenarios
import Testing

@Suite struct AddressSpaceTagging {
  /// Address spaces that CPUs enter, leave and end at random.
  private final class World {
    let simulation: Simulation
    let frames: RunOfFrames
    let tags: AddressSpaceTags<Simulated>
    var spaces: [Space]
    var switches = 0
    var damaged = 0

    struct Space {
      var root: PhysicalAddress
      var number: UInt64
      var tag: UInt64 = 0
      /// The CPU that has it, if one has.
      var cpu: Int?
    }

    init(bits: Int, cpus: Int, spaces count: Int, seed: UInt64) throws {
      simulation = try Simulation(memoryBytes: 16 << 20, cpuCount: cpus, seed: seed)
      frames = RunOfFrames(simulation)
      tags = try AddressSpaceTags(machine: simulation.machine, bits: bits, frames: frames)
      spaces = []
      for number in 0..<count { spaces.append(try make(UInt64(number))) }
    }

    static let page = VirtualAddress(0x40_0000)

    /// Makes an address space of one page, which holds its number.
    func make(_ number: UInt64) throws -> Space {
      let machine = simulation.machine
      let tables = try TranslationTables(userSpaceOf: machine, frames: frames)
      let frame = try frames.allocate(FrameRequest(purpose: .userMemory, cleared: true))
      machine.pointer(to: frame.physicalAddress).storeBytes(of: number, as: UInt64.self)
      try tables.map(frame, at: Self.page, .userReadWrite, frames: frames)
      return Space(root: tables.root, number: number)
    }

    func run(_ machine: Simulated, seed: UInt64, drop: (AddressSpaceTags<Simulated>) -> Void) throws {
      var random = SplitMix64(seed: seed)
      var own: Int?
      for _ in 0..<60 {
        let interrupts = machine.disableInterrupts()
        let cpu = machine.currentCPU
        // No other CPU acts between the choice and the claim: only calls of the machine let others run.
        let free = spaces.indices.filter { spaces[$0].cpu == nil }
        let choice = free[random.next(below: free.count)]
        let former = own
        spaces[choice].cpu = cpu
        own = choice
        var tag = spaces[choice].tag
        tags.activate(&tag, drop: drop) {
          machine.activate(root: spaces[choice].root, space: $0)
        }
        spaces[choice].tag = tag
        if let former { spaces[former].cpu = nil }
        switches += 1
        let seen: UInt64? = try? machine.load(Self.page, privilege: .user)
        if seen != spaces[choice].number { damaged += 1 }
        if random.next(below: 8) == 0 { try end(choice, machine); own = nil }
        machine.restoreInterrupts(interrupts)
      }
    }

    // The space ends on its CPU, and another takes its place.
    private func end(_ index: Int, _ machine: Simulated) throws {
      machine.activate(root: nil)
      let tables = TranslationTables(root: spaces[index].root, machine: machine)
      tables.destroy(in: tags.identifier(spaces[index].tag), to: frames) { frames.give($0.entry.frame) }
      let number = spaces[index].number + 1000
      spaces[index] = try make(number)
    }
  }

  /// A frame source that is a list: the last frame freed is handed out first.
  private final class RunOfFrames: FrameSource {
    private var free: [PageFrame]
    private let machine: Simulated
    init(_ simulation: Simulation) {
      machine = simulation.machine
      let bank = simulation.memoryBanks[0]
      free = (16..<bank.frameCount).reversed().map { bank.firstFrame + $0 }
    }
    var nodeCount: Int { 1 }
    var totalFrames: Int { free.count }
    func node(of frame: PageFrame) -> NodeID { NodeID(0) }
    func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
      precondition(request.order == 0 && !free.isEmpty)
      let frame = free.removeLast()
      if request.cleared { machine.clear(machine.linearAddress(of: frame), byteCount: pageSize) }
      return frame
    }
    func free(_ frame: PageFrame, order: Int) throws(FrameSourceError) { free.append(frame) }
    func give(_ frame: PageFrame) { free.append(frame) }
  }

  private func run(
    bits: Int, cpus: Int, seed: UInt64, drop: @escaping (AddressSpaceTags<Simulated>) -> Void
  ) throws -> World {
    let world = try World(bits: bits, cpus: cpus, spaces: 24, seed: seed)
    let bodies = (0..<cpus).map { cpu in
      { (machine: Simulated) throws in try world.run(machine, seed: seed &* 16 &+ UInt64(cpu), drop: drop) }
    }
    try world.simulation.run(bodies)
    return world
  }

  @Test(arguments: 0..<8) func `No CPU finds another address space's pages, however often ASIDs come to an end`(
    part: Int
  ) throws {
    for seed in part * 25..<(part + 1) * 25 {
      for (bits, cpus) in [(2, 1), (3, 2), (3, 3), (4, 4)] {
        let world = try run(bits: bits, cpus: cpus, seed: UInt64(seed)) { $0.dropEachFree() }
        #expect(world.simulation.violations.map(\.description) == [], "seed \(seed), \(cpus) CPUs")
        #expect(world.damaged == 0, "seed \(seed), \(cpus) CPUs")
        #expect(world.tags.rolloverCount > 2, "seed \(seed), \(cpus) CPUs")
      }
    }
  }

  @Test func `ASIDs that are handed out anew without an invalidation are found`() throws {
    var found = 0
    for seed in 0..<20 as Range<UInt64> {
      let world = try run(bits: 3, cpus: 2, seed: seed) { _ in }
      if world.simulation.violations.contains(where: { $0.rule == .addressSpaceIDReused }) { found += 1 }
    }
    #expect(found == 20)
  }

  @Test func `An address space that is entered again and again keeps its ASID`() throws {
    let world = try World(bits: 8, cpus: 1, spaces: 4, seed: 1)
    try world.simulation.run([
      { machine in
        var first: [AddressSpaceID] = []
        for round in 0..<10 {
          for index in world.spaces.indices {
            let interrupts = machine.disableInterrupts()
            var tag = world.spaces[index].tag
            world.tags.activate(&tag, drop: { $0.dropEachFree() }) {
              machine.activate(root: world.spaces[index].root, space: $0)
              if round == 0 { first.append($0) } else { #expect($0 == first[index]) }
            }
            world.spaces[index].tag = tag
            machine.restoreInterrupts(interrupts)
          }
        }
        #expect(Set(first.map(\.rawValue)) == [1, 2, 3, 4])
      }
    ])
    #expect(world.tags.rolloverCount == 0)
    #expect(world.simulation.violations.isEmpty)
  }
}
