// Each operation in Swift and in C, one after the other: the time of a pair of allocate and free.
//
// Each allocator is made once and brought into its steady state before anything is measured: making one writes to memory
// for longer than a thousand operations take, and empties caches in proportion. As many samples are taken on a busy computer
// as on a quiet one.

import Benchmark
import HostYardstick
import KernelStacks

let benchmarks: @Sendable () -> Void = {
  Benchmark.defaultConfiguration = .init(
    metrics: [.wallClock], warmupIterations: 100, scalingFactor: .kilo, maxDuration: .seconds(600),
    maxIterations: 10_000)

  for strategy in [StackStrategy.vmalloc, .growing] {
    guard let swift = try? SwiftSide(strategy) else { fatalError("an allocator in Swift was not made") }
    let c = CSide(strategy)
    c.check()

    Benchmark("\(strategy.name): cached stack, Swift") { benchmark in
      for _ in benchmark.scaledIterations { swift.freeStack(swift.allocateStack()) }
    }
    Benchmark("\(strategy.name): cached stack, C") { benchmark in
      for _ in benchmark.scaledIterations { yardstick_free(c.state, yardstick_allocate(c.state)) }
    }
    Benchmark("\(strategy.name): cached stack (inlined in Swift), Swift") { benchmark in
      for _ in benchmark.scaledIterations { swift.stacks.free(try swift.stacks.allocate(node: nil)) }
    }
    Benchmark("\(strategy.name): cached stack (inlined in Swift), C") { benchmark in
      for _ in benchmark.scaledIterations { yardstick_free(c.state, yardstick_allocate(c.state)) }
    }
    Benchmark("\(strategy.name): stack of a burst, Swift") { benchmark in
      for _ in 0..<benchmark.scaledIterations.count / burst { swift.runBurst() }
    }
    Benchmark("\(strategy.name): stack of a burst, C") { benchmark in
      for _ in 0..<benchmark.scaledIterations.count / burst { c.runBurst() }
    }
    Benchmark("\(strategy.name): new stack, Swift") { benchmark in
      for _ in 0..<benchmark.scaledIterations.count / crowd { swift.runCrowd() }
    }
    Benchmark("\(strategy.name): new stack, C") { benchmark in
      for _ in 0..<benchmark.scaledIterations.count / crowd { c.runCrowd() }
      c.check()
    }
    guard strategy == .vmalloc else { continue }
    Benchmark("frame, Swift") { benchmark in
      for _ in benchmark.scaledIterations { swift.freeFrame(swift.allocateFrame()) }
    }
    Benchmark("frame, C") { benchmark in
      for _ in benchmark.scaledIterations {
        _ = yardstick_free_frame(c.state, yardstick_allocate_frame(c.state))
      }
      c.check()
    }
  }
}
