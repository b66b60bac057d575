// The scheduler's part of a thread's record, and the memory of a scheduler.

@testable import KernelScheduling
import KernelStacks
import SimulatedMachine
import TestSupport
import Testing

/// A machine that says that it has more CPUs than it has.
private struct Crowded: ForwardingMachine {
  let base: Simulated
  let cpuCount: Int

  func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
    base.invalidate(pages, in: space, scope: scope)
  }

  /// Makes a scheduler for such a machine, whose memory stays.
  static func schedule(cpuCount: Int) throws -> ThreadScheduler<Crowded, NoSchedulerEvents> {
    let simulation = try Simulation(memoryBytes: 1 << 20, cpuCount: 2, seed: 1)
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: ThreadScheduler<Crowded, NoSchedulerEvents>.byteCount(cpuCount: cpuCount), alignment: 64)
    return ThreadScheduler(
      machine: Crowded(base: simulation.machine, cpuCount: cpuCount), memory: memory,
      events: NoSchedulerEvents())
  }
}

@Suite struct RecordTests {
  @Test func `The scheduler's part of a thread record is small, and begins with the stack's base`() {
    #expect(MemoryLayout<ScheduledThread>.size <= 64)
    #expect(MemoryLayout<ScheduledThread>.offset(of: \.stackBase) == 0)
    #expect(MemoryLayout<ScheduledThread>.offset(of: \.cpuNumber) == 48, "where it is read as one atomic word")
  }

  @Test func `The parts of a scheduler's memory do not overlap, and each begins a line of the cache`() {
    #expect(MemoryLayout<SchedulerShared>.size <= SchedulerLayout.idleCPUsOffset)
    #expect(SchedulerLayout.idleCPUsOffset + MemoryLayout<IdleCPUs>.size <= SchedulerLayout.queuesOffset)
    #expect(MemoryLayout<RunQueue>.size <= RunQueue.stride)
    for offset in [SchedulerLayout.idleCPUsOffset, SchedulerLayout.queuesOffset, RunQueue.stride] {
      #expect(offset % 64 == 0)
    }
  }

  @Test func `A CPU that does not exist is not idle or closed, may not stop, and has no threads`() throws {
    let simulation = try Simulation(memoryBytes: 1 << 20, cpuCount: 2, seed: 1)
    let byteCount = TestScheduler.byteCount(cpuCount: 2)
    // A read outside the scheduler's memory would give the opposite answer.
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 3 * byteCount, alignment: 64)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 1)
    let scheduler = TestScheduler(
      machine: simulation.machine, memory: memory.baseAddress! + byteCount,
      events: LoggedEvents(log: EventLog()))
    for cpu in [-1, 2, Int.max, Int.min] {
      let isAny = scheduler.isIdle(cpu) || scheduler.isClosed(cpu) || scheduler.mayStop(cpu)
      let hasClosed = scheduler.closeCPU(cpu)
      #expect(!isAny && !hasClosed && scheduler.readyCount(ofCPU: cpu) == 0, "CPU \(cpu)")
    }
  }

  @Test func `A machine with more CPUs than notifications have bits for is refused`() async throws {
    let scheduler = try Crowded.schedule(cpuCount: 64)
    let isIdle = scheduler.isIdle(63)
    #expect(!isIdle)
    await #expect(processExitsWith: .failure) { _ = try Crowded.schedule(cpuCount: 65) }
  }

  @Test func `The live part of a sleeping thread's stack begins at its stack pointer, or at a lower floor`() {
    var thread = ScheduledThread(id: 1, stackBase: VirtualAddress(0x1000), stackPointer: VirtualAddress(0x4f00))
    #expect(thread.lowestLiveAddress == VirtualAddress(0x4f00))
    thread.floor = VirtualAddress(0x2f00)
    #expect(thread.lowestLiveAddress == VirtualAddress(0x2f00))
    thread.floor = ScheduledThread.noFloor
    #expect(thread.lowestLiveAddress == VirtualAddress(0x4f00))
  }
}
