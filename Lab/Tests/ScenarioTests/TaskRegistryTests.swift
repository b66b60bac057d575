// Frames and areas that tasks take in their own name: all of them come back, and no request is half-done.

import KernelStacks
import SeededRandom
import SimulatedMachine
import SystemCallInterface
import Testing

@testable import KernelProcesses
@testable import Scenarios
@testable import SimulatedScenarios

@Suite struct TaskRegistryTests {
  @Test(arguments: [1, 2, 3] as [UInt64])
  func `Whatever is taken and given back, what is left comes back at the end`(seed: UInt64) throws {
    // Memory for many more entries than a page holds: some steps are refused, and enough succeed.
    var options = ScenarioOptions.small(.isolation, .vmalloc)
    options.memoryBytes = 8 << 20
    try withProcesses(options) { processes, _ in
      var random = SplitMix64(seed: seed)
      processes.settle()
      let free = processes.frames.freeFrames
      var registry = TaskRegistry()
      var blocks: [(PageFrame, Int)] = []
      var areas: [VirtualAddress] = []
      for _ in 0..<3000 {
        switch random.next(below: 5) {
        case 0, 1:
          let order = random.next(below: 3)
          if let frame = try? processes.takeFrames(order: order, for: &registry) {
            blocks.append((frame, order))
          }
        case 2:
          if let area = try? processes.takeArea(size: 4096, for: &registry) { areas.append(area) }
        case 3 where blocks.count > 600 || random.next(below: 4) == 0:
          guard !blocks.isEmpty else { continue }
          let (frame, order) = blocks.remove(at: random.next(below: blocks.count))
          try processes.giveBack(frame, order: order, from: &registry)
          #expect(throws: TaskRegistryError.notTaken(frame.physicalAddress.rawValue | UInt(order))) {
            try processes.giveBack(frame, order: order, from: &registry)
          }
        default:
          guard areas.count > 20 else { continue }
          try processes.giveBack(areas.remove(at: random.next(below: areas.count)), from: &registry)
        }
        #expect(registry.isEmpty == (blocks.isEmpty && areas.isEmpty), "seed \(seed)")
      }
      // More than one page of entries, or the test shows little.
      #expect(blocks.count + areas.count > 511, "seed \(seed)")
      let held = blocks.reduce(0) { $0 + 1 << $1.1 }
      #expect(processes.giveBackAll(from: &registry) == blocks.count + areas.count, "seed \(seed)")
      #expect(registry.isEmpty && held > 0)
      processes.settle()
      #expect(processes.frames.freeFrames == free, "seed \(seed)")
    }
  }

  @Test func `A refusal at any step leaves registry and memory as they were`() throws {
    try withProcesses { processes, _ in
      processes.settle()
      let free = processes.frames.freeFrames
      for takesArea in [false, true] {
        var step = 1
        var succeeded = false
        while !succeeded {
          var registry = TaskRegistry()
          processes.frameWatch.pointee.refuse(allocation: step)
          do {
            if takesArea {
              _ = try processes.takeArea(size: 3 * 4096, for: &registry)
            } else {
              _ = try processes.takeFrames(order: 1, for: &registry)
            }
            succeeded = true
          } catch {
            #expect(registry.isEmpty)
          }
          processes.frameWatch.pointee.allowAll()
          processes.giveBackAll(from: &registry)
          processes.settle()
          #expect(processes.frames.freeFrames == free, "refusal \(step)")
          step += 1
        }
        #expect(step > 2, "nothing was refused")
      }
    }
  }

  @Test func `A process that ends gives back what it has taken`() throws {
    try withProcesses { processes, kernel in
      let parent = try processes.createFirst(kernel.image)
      processes.settle()
      let free = processes.frames.freeFrames
      let child = try processes.fork(parent, in: kernel)
      _ = try processes.takeFrames(order: 2, for: &child.pointee.registry)
      _ = try processes.takeArea(size: 8192, for: &child.pointee.registry)
      processes.exit(child, status: 0, end: .stackOverflow)
      #expect(child.pointee.registry.isEmpty)
      processes.hasStopped(child)
      _ = processes.reap(childOf: parent)
      processes.settle()
      #expect(processes.frames.freeFrames == free)
    }
  }
}
