// The common path writes no line that CPUs share: counted by trapping every access to the allocator's memory.
//
// A line is shared if one CPU writes it and another reads or writes it, regardless of its contents and intended owner. So
// missing padding is found as well as a counter that all CPUs write.

#if os(Linux) && arch(x86_64)
  @testable import HostStorm
  import KernelStacks
  import Testing

  @Suite(.serialized) struct SharedLineTests {
    /// An allocator in memory of the host, and CPUs that take turns on one thread.
    final class World {
      static let cpuCount = 4
      let machine: HostMachine
      let stacks: UnsafeMutablePointer<HostStacks>

      init(_ strategy: StackStrategy) throws {
        machine = try HostMachine(byteCount: 8 << 20, cpuCount: Self.cpuCount, leavesLocksOut: false)
        stacks = .allocate(capacity: 1)
        stacks.initialize(to: try makeHostStacks(strategy, on: machine))
        // Each CPU has freed stacks, and all state that is made at first use.
        for cpu in 0..<Self.cpuCount { allocateAndFree(4, on: cpu) }
      }

      deinit {
        HostMachine.become(cpu: 0)
        stacks.deinitialize(count: 1)
        stacks.deallocate()
        machine.deallocate()
      }

      func allocateAndFree(_ count: Int, on cpu: Int) {
        HostMachine.become(cpu: cpu)
        for _ in 0..<count {
          if let stack = try? stacks.pointee.allocate(node: nil) { stacks.pointee.free(stack) }
        }
      }

      /// The lines that each CPU accesses in `body`.
      func lines(_ lineBytes: UInt, _ body: (Int) -> Void) -> [AccessedLines] {
        (0..<Self.cpuCount).map { cpu in
          accessedLines(in: machine.block, lineBytes: lineBytes) { body(cpu) }
        }
      }
    }

    /// Lines that one CPU has written and another accessed.
    func shared(_ cpus: [AccessedLines]) -> Set<UInt> {
      var shared: Set<UInt> = []
      for (cpu, own) in cpus.enumerated() {
        for (other, others) in cpus.enumerated() where other != cpu {
          shared.formUnion(own.written.intersection(others.written.union(others.read)))
        }
      }
      return shared
    }

    @Test(arguments: [StackStrategy.linear, .vmalloc, .growing])
    func `A cached stack's allocation and its free write no shared line`(strategy: StackStrategy) throws {
      let world = try World(strategy)
      let lines = world.lines(64) { world.allocateAndFree(2, on: $0) }
      #expect(lines.allSatisfy { $0.written.count > 1 }, "each CPU was seen at work")
      #expect(shared(lines).count == 0)
    }

    @Test func `Frames that come from a CPU's own list, and go back to it, write no shared line`() throws {
      let world = try World(.vmalloc)
      let lines = world.lines(64) { cpu in
        HostMachine.become(cpu: cpu)
        for _ in 0..<8 {
          let frame = try? world.stacks.pointee.frames.allocate(FrameRequest(purpose: .other))
          if let frame { try? world.stacks.pointee.frames.free(frame, order: 0) }
        }
      }
      #expect(lines.allSatisfy { !$0.written.isEmpty })
      #expect(shared(lines).count == 0)
    }

    @Test func `Writes to shared lines are seen: of a lock, and of a word that another CPU reads`() throws {
      let world = try World(.vmalloc)
      let frame = try world.stacks.pointee.frames.allocate(FrameRequest(purpose: .other))
      let page = world.machine.pointer(to: frame.physicalAddress)
      page.initializeMemory(as: UInt64.self, repeating: 0, count: 512)
      let lock = page.assumingMemoryBound(to: SpinLock.self)
      let taken = world.lines(64) { _ in
        world.machine.unlock(lock, restoring: world.machine.lock(lock))
      }
      #expect(shared(taken).count == 1)
      let word = (page + 256).assumingMemoryBound(to: UInt64.self)
      let written = world.lines(64) { cpu in
        if cpu == 2 { word.pointee = 7 } else { precondition(word.pointee != 9) }
      }
      #expect(shared(written).count == 1)
      // Neighbours share a line of 128 bytes, and none of 64.
      let neighbours = { (cpu: Int) in (word + 8 * cpu).pointee = 1 }
      #expect(shared(world.lines(64, neighbours)).count == 0)
      #expect(shared(world.lines(128, neighbours)).count == 2)
      try world.stacks.pointee.frames.free(frame, order: 0)
    }
  }
#endif
