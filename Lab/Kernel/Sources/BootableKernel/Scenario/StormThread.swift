// A thread of the scenario `smp-storm`. Between the steps of a worker it goes deep into its stack, sleeps, is shrunk, wakes and
// makes other threads, and takes CPUs offline and back.
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios

/// Memory through the kernel's translations, and the kernel's reclaim.
private struct KernelStorm: StormSurroundings {
  func load(_ address: VirtualAddress) -> UInt64 { ca_load(address.rawValue) }
  func store(_ value: UInt64, to address: VirtualAddress) { ca_store(address.rawValue, value) }
  func reclaim(target: Int) { _ = Scheduler.reclaim(target: target) }
  func allocateArea(byteCount: Int) throws(VmallocError) -> VirtualAddress {
    try KernelObjects.arena.pointee.vmalloc(size: byteCount, caller: "storm", frames: KernelSite().frames)
  }
  func freeArea(_ area: VirtualAddress) throws(VmallocError) {
    try KernelObjects.arena.pointee.vfree(area, frames: KernelSite().frames)
  }
}

private struct StormRun {
  let thread: KernelThreadPointer
  let stackBase: UInt
  var worker: StormWorker
  var program: StormProgram
  var figures = StormThreadFigures()
  var isIntact = true
}

// The bytes of stack left free for the functions that a frame calls.
private let margin: UInt = 2560

/// The body of every thread of a storm.
func runStormThread(_ address: UInt) {
  guard let thread = KernelThreadPointer(bitPattern: address) else { return }
  let processes = KernelObjects.processes
  let seed = processes.pointee.stormSeed
  let number = Int(thread.pointee.number)
  let share = inAllocatorSection {
    processes.pointee.takeStormShare(StormProgram.stepsPerThread, console: Console())
  }
  var run = StormRun(
    thread: thread, stackBase: Thread.current.pointee.stackBase,
    worker: StormWorker(seed: seed, number: number),
    program: StormProgram(seed: seed, number: number, steps: share))
  withUnsafeMutablePointer(to: &run) { weather($0) }
  inAllocatorSection { run.worker.finish(KernelObjects.stacks.pointee, KernelStorm()) }
  // While steps are left, each thread makes a successor.
  if share == StormProgram.stepsPerThread { makeStormThread(&run.figures) }
  inAllocatorSection {
    processes.pointee.addStorm(run.worker.figures, run.figures)
    processes.pointee.threadEnds(thread, intact: run.isIntact)
  }
}

@inline(never)
private func weather(_ run: UnsafeMutablePointer<StormRun>) {
  while true {
    switch run.pointee.program.next() {
    case .step: step(run)
    case .descend(let goal): descend(run, goal: UInt(goal), depth: 1)
    case .sleep: sleep(run)
    case .wakeOthers: wakeOthers()
    case .yield: Scheduler.yield()
    case .changeCPUs: changeCPUs(run)
    case .end: return
    }
  }
}

@inline(never)
private func changeCPUs(_ run: UnsafeMutablePointer<StormRun>) {
  let draw = run.pointee.program.draw()
  // A CPU of a spin table cannot be told to stop.
  guard AArch64().cpuCount > 1, canGoOffline(1) else { return }
  let processes = KernelObjects.processes
  guard let change = inAllocatorSection({ processes.pointee.beginCPUChange(draw) }) else { return }
  let isDone = change.isReturn ? bringOnline(change.number) : takeOffline(change.number)
  inAllocatorSection { processes.pointee.endCPUChange(change, isDone: isDone) }
}

@inline(never)
private func step(_ run: UnsafeMutablePointer<StormRun>) {
  inAllocatorSection { run.pointee.worker.step(KernelObjects.stacks.pointee, KernelStorm()) }
}

/// Recurses until only `goal` bytes of stack are left, and verifies each stack frame on the way back.
@inline(never)
private func descend(_ run: UnsafeMutablePointer<StormRun>, goal: UInt, depth: Int) {
  var words = InlineArray<64, UInt64>(repeating: 0)
  withUnsafeMutablePointer(to: &words) { descend(run, goal, depth, in: UInt(bitPattern: $0)) }
}

// Words are stored and loaded one by one, so that the compiler cannot know their values.
@inline(__always)
private func descend(_ run: UnsafeMutablePointer<StormRun>, _ goal: UInt, _ depth: Int, in words: UInt) {
  let frame = ThreadFrame(owner: Int(run.pointee.thread.pointee.number), depth: depth)
  for index in 0..<64 { ca_store(words &+ UInt(index) &* 8, frame.word(index)) }
  if words &- run.pointee.stackBase > max(goal, margin) {
    let base = VirtualAddress(run.pointee.stackBase)
    let before = KernelObjects.stacks.pointee.mappedPageCount(base)
    descend(run, goal: goal, depth: depth + 1)
    if depth == 1, KernelObjects.stacks.pointee.mappedPageCount(base) > before {
      run.pointee.figures.growths += 1
    }
  } else {
    switch run.pointee.program.atBottom() {
    case .sleep: sleep(run)
    case .yield: Scheduler.yield()
    default: break
    }
  }
  for index in 0..<64 where ca_load(words &+ UInt(index) &* 8) != frame.word(index) {
    run.pointee.isIntact = false
  }
}

/// Sleeps if enough threads are awake to wake it again, and yields otherwise.
@inline(never)
private func sleep(_ run: UnsafeMutablePointer<StormRun>) {
  let processes = KernelObjects.processes
  guard processes.pointee.threadFigures.awake > AArch64().cpuCount + 1 else { return Scheduler.yield() }
  let base = VirtualAddress(run.pointee.stackBase)
  let before = KernelObjects.stacks.pointee.mappedPageCount(base)
  sleepKernelThread(run.pointee.thread)
  if KernelObjects.stacks.pointee.mappedPageCount(base) < before { run.pointee.figures.shrinks += 1 }
}

@inline(never)
private func wakeOthers() {
  inAllocatorSection { KernelObjects.processes.pointee.wakeSleepers(3) { wakeKernelThread($0) } }
}

@inline(never)
private func makeStormThread(_ figures: inout StormThreadFigures) {
  inAllocatorSection {
    do throws(KernelThreadError) {
      let thread = try KernelObjects.processes.pointee.makeThread()
      prepareKernelThread(thread, body: { runStormThread($0) })
      KernelObjects.processes.pointee.startThread(thread)
      wakeKernelThread(thread)
    } catch { figures.refused += 1 }
  }
}
