// Every contradiction in a configuration has its own error, and no memory is taken when it is thrown.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct ConfigurationTests {
  static let contradictory: [(StackConfiguration, StackConfigurationError)] = [
    (StackConfiguration(.vmalloc, size: 10_000), .sizeNotPageMultiple(10_000)),
    (StackConfiguration(.linear, size: 100), .sizeNotPageMultiple(100)),
    (StackConfiguration(.vmalloc, size: 0), .sizeOutOfRange(0, maximum: 262_144)),
    (StackConfiguration(.vmalloc, size: -4096), .sizeOutOfRange(-4096, maximum: 262_144)),
    (StackConfiguration(.vmalloc, size: 266_240), .sizeOutOfRange(266_240, maximum: 262_144)),
    (StackConfiguration(.linear, size: 12_288), .sizeNotPowerOfTwo(12_288)),
    (StackConfiguration(.vmalloc, guardMinimum: 5000), .guardNotPageMultiple(5000)),
    (StackConfiguration(.vmalloc, guardMinimum: 0), .guardOutOfRange(0, maximum: 2_080_768)),
    (StackConfiguration(.vmalloc, guardMinimum: -4096), .guardOutOfRange(-4096, maximum: 2_080_768)),
    (StackConfiguration(.vmalloc, guardMinimum: 2 << 20), .guardOutOfRange(2 << 20, maximum: 2_080_768)),
    (StackConfiguration(.vmalloc, phase: 100), .phaseNotPageMultiple(100)),
    (StackConfiguration(.vmalloc, phase: 4096), .phaseOutOfRange(4096, size: 16384, stride: 32768)),
    (StackConfiguration(.vmalloc, phase: 32768), .phaseOutOfRange(32768, size: 16384, stride: 32768)),
    (StackConfiguration(.vmalloc, phase: -4096), .phaseOutOfRange(-4096, size: 16384, stride: 32768)),
    (StackConfiguration(.linear, phase: 16384), .phaseOfLinearStacks(16384)),
    (StackConfiguration(threadInfoSize: 0), .threadInfoUnaligned(0)),
    (StackConfiguration(threadInfoSize: 40), .threadInfoUnaligned(40)),
    (StackConfiguration(threadInfoSize: -16), .threadInfoUnaligned(-16)),
    (StackConfiguration(threadInfoSize: 4112), .threadInfoTooLarge(4112, maximum: 4096)),
    (StackConfiguration(.vmalloc, capacity: 0), .capacityOutOfRange(0, maximum: 8_388_480)),
    (StackConfiguration(.vmalloc, capacity: -1), .capacityOutOfRange(-1, maximum: 8_388_480)),
    (StackConfiguration(.vmalloc, capacity: .max), .capacityOutOfRange(.max, maximum: 8_388_480)),
    (StackConfiguration(cachedStacksPerCPU: -1), .cacheOutOfRange(-1, maximum: 64)),
    (StackConfiguration(cachedStacksPerCPU: 65), .cacheOutOfRange(65, maximum: 64)),
    (StackConfiguration(depotStacks: -1), .depotOutOfRange(-1, maximum: 4096)),
    (StackConfiguration(depotStacks: 4097), .depotOutOfRange(4097, maximum: 4096)),
    (StackConfiguration(retirementBatch: 0), .batchOutOfRange(0, maximum: 256)),
    (StackConfiguration(retirementBatch: 257), .batchOutOfRange(257, maximum: 256)),
  ]

  @Test(arguments: contradictory) func `A contradictory configuration is refused and nothing is taken`(
    _ configuration: StackConfiguration, _ expected: StackConfigurationError
  ) throws {
    let world = try World()
    var thrown: ThreadStackError?
    do { _ = try world.stacks(configuration) } catch { thrown = error }
    if case .capacityOutOfRange(let asked, _) = expected {
      guard case .configuration(.capacityOutOfRange(asked, let maximum))? = thrown else {
        Issue.record("\(String(describing: thrown))")
        return
      }
      #expect(maximum > 8_000_000)
    } else {
      #expect(thrown == .configuration(expected))
    }
    #expect(world.ledger.requests == 0)
    #expect(world.ledger.heldFrames == 0)
    #expect(thrown?.description.contains("\n") == false)
  }

  @Test
  func `A vmalloc area without room for the slots is an error that says so, and the records go back`() throws {
    let world = try World()
    #expect {
      _ = try TestStacks(
        StackConfiguration(.vmalloc, capacity: 1 << 20), machine: world.machine,
        frames: TestFrames(ledger: world.ledger),
        arena: VmallocArea(0xffff_ff80_0800_0000..<0xffff_ff80_0900_0000, machine: world.machine))
    } throws: { error in
      guard case ThreadStackError.addressSpace(.noAddressSpace(let requested, let largest)) = error else {
        return false
      }
      return requested >= 32 << 30 && largest == 16 << 20
    }
    #expect(world.ledger.heldFrames == 0)
    #expect(world.simulation.violations.isEmpty)
  }

  @Test(arguments: [8, 12, 16, 20, 24])
  func `Every size from 8 to 24 KiB works as vmalloc stack, zeroed and guarded`(kibibytes: Int) throws {
    let world = try World()
    let size = kibibytes << 10
    let stacks = try world.stacks(StackConfiguration(.vmalloc, size: size))
    for phase in 0..<2 {
      let stack = try stacks.allocate(node: nil)
      #expect(stack.size == size && stack.top - stack.base == size)
      #expect(try world.machine.firstNonzero(stack.base, size: size) == nil, "phase \(phase)")
      try world.machine.dirty(stack.base, size: size)
      let base = stack.base
      #expect(throws: SimulatedFault.self) { try world.machine.load(base - 8, as: UInt64.self) }
      #expect(throws: SimulatedFault.self) { try world.machine.store(UInt64(1), to: base - 4096) }
      #expect(stacks.kernelStackKiB(on: NodeID(0)) == kibibytes)
      stacks._checkInvariants()
      stacks.free(stack)
      #expect(stacks.kernelStackKiB(on: NodeID(0)) == 0)
      stacks._checkInvariants()
    }
    #expect(world.simulation.violations.isEmpty)
  }
}
