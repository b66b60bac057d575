// Threads that move from CPU to CPU: a CPU that holds a queue's lock never finds one between two CPUs.

import KernelStacks
import SimulatedMachine
import TestSupport
import Testing

@Suite struct MovingTests {
  typealias Stacks = ThreadStackAllocator<Watched, SharedFramesHandle, VmallocArea<Watched>>

  /// The place of a thread, as the next CPU with its lock sees it.
  private struct Place: Equatable {
    let state: ThreadState
    let cpu: Int
  }

  @Test
  func `A thread that an idle CPU takes is that CPU's when the lock of its former queue is released`() throws {
    let simulation = try Simulation(memoryBytes: 2 << 20, cpuCount: 2, seed: 1)
    let watch = Watch()
    let machine = Watched(simulation.machine, watch)
    let frames = try SharedFrames(simulation)
    let stacks = try Stacks(
      StackConfiguration(.vmalloc), machine: machine, frames: SharedFramesHandle(frames),
      arena: VmallocArea(SchedulingWorld.vmallocArea, machine: machine))
    typealias Scheduler = ThreadScheduler<Watched, NoSchedulerEvents>
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: Scheduler.byteCount(cpuCount: 2), alignment: 64)
    defer { memory.deallocate() }
    let scheduler = Scheduler(machine: machine, memory: memory, events: NoSchedulerEvents())
    let idle = (0..<2).map { Record(idle: $0) }
    for cpu in 0..<2 {
      simulation.onCPU(cpu) { _ in
        let interrupts = machine.disableInterrupts()
        scheduler.startCPU(running: idle[cpu].scheduled, idle: idle[cpu].scheduled)
        machine.restoreInterrupts(interrupts)
      }
    }
    let thread = Record(id: 1, try stacks.allocate(node: nil))
    let scheduled = thread.scheduled
    scheduler.enqueue(scheduled)
    var seen: [Place] = []
    watch.afterUnlock = {
      let place = Place(state: scheduled.pointee.state, cpu: scheduled.pointee.cpu)
      if seen.last != place { seen.append(place) }
    }
    simulation.onCPU(1) { _ in
      let interrupts = machine.disableInterrupts()
      let chosen = scheduler.next(after: idle[1].scheduled, stacks: stacks) { _ in }
      machine.restoreInterrupts(interrupts)
      #expect(chosen == scheduled)
    }
    watch.afterUnlock = nil
    #expect(seen == [Place(state: .ready, cpu: 0), Place(state: .running, cpu: 1)])
    stacks.free(thread.stack.take()!)
    #expect(simulation.violations.isEmpty)
  }
}
