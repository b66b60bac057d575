// A thread of the scenario `smp-storm`: the steps of a worker, and meanwhile it goes down its own stack, sleeps, is shrunk,
// wakes others and makes others.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelAssembly
  import KernelStacks
  import Scenarios
  import SeededRandom

  /// Memory by the kernel's own translations, and all of its reclaim.
  private struct KernelStorm: StormSurroundings {
    func load(_ address: VirtualAddress) -> UInt64 { ca_load(address.rawValue) }
    func store(_ value: UInt64, to address: VirtualAddress) { ca_store(address.rawValue, value) }
    func reclaim(target: Int) { _ = Scheduler.reclaim(target: target) }
  }

  private struct StormRun {
    let thread: KernelThreadPointer
    let stackBase: UInt
    var worker: StormWorker
    var random: SplitMix64
    var figures = StormThreadFigures()
    var isIntact = true
  }

  // What calls below a frame may take.
  private let margin: UInt = 2560
  // A thread's share: so that one of sixteen operations makes a thread, and another ends one.
  private let stepsPerThread = 14

  /// The body of every thread of a storm.
  func runStormThread(_ address: UInt) {
    guard let thread = KernelThreadPointer(bitPattern: address) else { return }
    let processes = KernelObjects.processes
    let seed = processes.pointee.stormSeed
    let number = Int(thread.pointee.number)
    var run = StormRun(
      thread: thread, stackBase: Thread.current.pointee.stackBase,
      worker: StormWorker(seed: seed, number: number),
      random: SplitMix64(seed: seed ^ UInt64(truncatingIfNeeded: number) &* 0x9e37_79b9_7f4a_7c15))
    let share = inAllocatorSection { processes.pointee.takeStormShare(stepsPerThread) }
    withUnsafeMutablePointer(to: &run) { weather($0, share) }
    inAllocatorSection { run.worker.finish(processes.pointee.stacks, KernelStorm()) }
    // While there is something left, each has a successor.
    if share == stepsPerThread { makeStormThread(&run.figures) }
    inAllocatorSection {
      processes.pointee.addStorm(run.worker.figures, run.figures)
      processes.pointee.threadEnds(thread, intact: run.isIntact)
    }
  }

  @inline(never)
  private func weather(_ run: UnsafeMutablePointer<StormRun>, _ steps: Int) {
    for _ in 0..<steps {
      step(run)
      switch run.pointee.random.next(below: 16) {
      case 0..<5: descend(run, goal: UInt(run.pointee.random.next(below: 12000)), depth: 1)
      case 5..<8: sleep(run)
      case 8..<11: wakeOthers()
      case 11: Scheduler.yield()
      default: break
      }
    }
  }

  @inline(never)
  private func step(_ run: UnsafeMutablePointer<StormRun>) {
    inAllocatorSection { run.pointee.worker.step(KernelObjects.processes.pointee.stacks, KernelStorm()) }
  }

  /// Goes down to where so many bytes are left, and verifies each frame on the way back.
  @inline(never)
  private func descend(_ run: UnsafeMutablePointer<StormRun>, goal: UInt, depth: Int) {
    var words = InlineArray<64, UInt64>(repeating: 0)
    withUnsafeMutablePointer(to: &words) { descend(run, goal, depth, in: UInt(bitPattern: $0)) }
  }

  // The words are stored and loaded one by one, so that no compiler knows what is in them.
  @inline(__always)
  private func descend(_ run: UnsafeMutablePointer<StormRun>, _ goal: UInt, _ depth: Int, in words: UInt) {
    let frame = ThreadFrame(owner: Int(run.pointee.thread.pointee.number), depth: depth)
    for index in 0..<64 { ca_store(words &+ UInt(index) &* 8, frame.word(index)) }
    if words &- run.pointee.stackBase > max(goal, margin) {
      let stacks = KernelObjects.processes
      let base = VirtualAddress(run.pointee.stackBase)
      let before = stacks.pointee.stacks.mappedPageCount(base)
      descend(run, goal: goal, depth: depth + 1)
      if depth == 1, stacks.pointee.stacks.mappedPageCount(base) > before { run.pointee.figures.growths += 1 }
    } else {
      switch run.pointee.random.next(below: 4) {
      case 0: sleep(run)
      case 1: Scheduler.yield()
      default: break
      }
    }
    for index in 0..<64 where ca_load(words &+ UInt(index) &* 8) != frame.word(index) {
      run.pointee.isIntact = false
    }
  }

  /// Sleeps, if enough others are awake to wake it again.
  @inline(never)
  private func sleep(_ run: UnsafeMutablePointer<StormRun>) {
    let processes = KernelObjects.processes
    guard processes.pointee.threadFigures.awake > AArch64().cpuCount + 1 else { return Scheduler.yield() }
    let base = VirtualAddress(run.pointee.stackBase)
    let before = processes.pointee.stacks.mappedPageCount(base)
    sleepKernelThread(run.pointee.thread)
    if processes.pointee.stacks.mappedPageCount(base) < before { run.pointee.figures.shrinks += 1 }
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
#endif
