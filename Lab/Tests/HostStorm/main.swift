// A storm on threads of the host: `HostStorm [steps [seed [left-out-lock]]]`. It is made to run under Thread Sanitizer.
//
// Each thread is a CPU that is four workers in turn: stacks are allocated, grown, shrunk and freed, memory is reclaimed, and areas
// of the vmalloc area come and go. At the end all frames have to be back.

import KernelStacks
import Scenarios

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Memory through the machine's tables, and the allocator's own reclaim.
struct HostStorm: StormSurroundings {
  let machine: HostMachine
  let stacks: UnsafePointer<HostStacks>

  func load(_ address: VirtualAddress) -> UInt64 { machine.pointer(to: address).load(as: UInt64.self) }
  func store(_ value: UInt64, to address: VirtualAddress) {
    machine.pointer(to: address).storeBytes(of: value, as: UInt64.self)
  }
  func reclaim(target: Int) { _ = stacks.pointee.reclaim(target: target) }
  func allocateArea(byteCount: Int) throws(VmallocError) -> VirtualAddress {
    try stacks.pointee.arena.vmalloc(size: byteCount, caller: "storm", frames: stacks.pointee.frames)
  }
  func freeArea(_ area: VirtualAddress) throws(VmallocError) {
    try stacks.pointee.arena.vfree(area, frames: stacks.pointee.frames)
  }
}

/// The parameters of a host thread.
final class Share {
  let machine: HostMachine
  let stacks: UnsafePointer<HostStacks>
  let cpu: Int
  let steps: Int
  let seed: UInt64
  var figures = StormFigures()

  init(machine: HostMachine, stacks: UnsafePointer<HostStacks>, cpu: Int, steps: Int, seed: UInt64) {
    self.machine = machine
    self.stacks = stacks
    self.cpu = cpu
    self.steps = steps
    self.seed = seed
  }

  func run() {
    HostMachine.become(cpu: cpu)
    let surroundings = HostStorm(machine: machine, stacks: stacks)
    var workers = (0..<4).map { StormWorker(seed: seed, number: cpu * 4 + $0) }
    for step in 0..<steps {
      workers[step % 4].step(stacks.pointee, surroundings)
      if step % 64 == 0 { stacks.pointee.serviceReclaimRequest() }
      // As an idle CPU would.
      if step % 8 == 0 { stacks.pointee.frames.zeroOneFrame() }
    }
    for number in workers.indices {
      workers[number].finish(stacks.pointee, surroundings)
      figures.add(workers[number].figures)
    }
  }
}

func storm(_ strategy: StackStrategy, steps: Int, seed: UInt64, leavesLocksOut: Bool) throws -> Bool {
  let cpuCount = 4
  let machine = try HostMachine(byteCount: 32 << 20, cpuCount: cpuCount, leavesLocksOut: leavesLocksOut)
  let stacks = UnsafeMutablePointer<HostStacks>.allocate(capacity: 1)
  // So few in each cache that CPUs pass stacks on to each other.
  stacks.initialize(to: try makeHostStacks(strategy, on: machine, cachedStacksPerCPU: 2))
  // The area's own state stays once it is there, and reserves are full.
  let area = try stacks.pointee.arena.vmalloc(size: pageSize, caller: "storm", frames: stacks.pointee.frames)
  try stacks.pointee.arena.vfree(area, frames: stacks.pointee.frames)
  settle(stacks, cpuCount)
  let before = stacks.pointee.frames.freeFrames

  let shares = (0..<cpuCount).map {
    Share(machine: machine, stacks: UnsafePointer(stacks), cpu: $0, steps: steps, seed: seed)
  }
  var threads: [pthread_t] = []
  for share in shares {
    var thread = pthread_t()
    let argument = Unmanaged.passUnretained(share).toOpaque()
    pthread_create(
      &thread, nil,
      { argument in
        Unmanaged<Share>.fromOpaque(argument!).takeUnretainedValue().run()
        return nil
      }, argument)
    threads.append(thread)
  }
  for thread in threads { pthread_join(thread, nil) }

  settle(stacks, cpuCount)
  let leaked = before - stacks.pointee.frames.freeFrames
  var sum = StormFigures()
  for share in shares { sum.add(share.figures) }
  print(
    "\(strategy), seed \(seed): \(sum.operations) operations, \(sum.refused) refused,",
    "\(sum.violations) violations, \(leaked) frames lost")
  return sum.violations == 0 && leaked == 0
}

/// Reclaims all cached stacks and freed areas, and fills the reserves; all threads have ended.
func settle(_ stacks: UnsafeMutablePointer<HostStacks>, _ cpuCount: Int) {
  for _ in 0..<2 {
    for cpu in 0..<cpuCount {
      HostMachine.become(cpu: cpu)
      _ = stacks.pointee.reclaim(target: .max)
      stacks.pointee.serviceReclaimRequest()
      if stacks.pointee.configuration.strategy == .growing { stacks.pointee.fillReserve() }
      _ = stacks.pointee.arena.flush(frames: stacks.pointee.frames)
    }
  }
  HostMachine.become(cpu: 0)
  _ = stacks.pointee.frames.drain()
}

let words = CommandLine.arguments
let steps = words.count > 1 ? Int(words[1]) ?? 2000 : 2000
let seed = words.count > 2 ? UInt64(words[2]) ?? 1 : 1
let leavesLocksOut = words.count > 3 && words[3] == "left-out-lock"
var held = true
for strategy in [StackStrategy.growing, .vmalloc, .linear] {
  held = try storm(strategy, steps: steps, seed: seed, leavesLocksOut: leavesLocksOut) && held
}
exit(held ? 0 : 1)
