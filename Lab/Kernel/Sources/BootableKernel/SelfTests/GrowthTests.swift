// Self-tests of growing stacks: contents across growth and preemption, and the report of a stall.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelAssembly
  import KernelStacks
  import Scenarios

  nonisolated(unsafe) private var firstThread = Thread()
  nonisolated(unsafe) private var secondThread = Thread()
  nonisolated(unsafe) private var finished = 0
  nonisolated(unsafe) private var intact = 0

  // Each level leaves words told by its depth on the stack, and looks at them again on the way back.
  @inline(never)
  private func goDown(_ levels: Int, _ owner: UInt64) -> Bool {
    var words = InlineArray<32, UInt64>(repeating: 0)
    return withUnsafeMutablePointer(to: &words) { pointer in
      let address = UInt(bitPattern: pointer)
      for index in 0..<32 { ca_store(address + UInt(index) * 8, owner &* UInt64(levels * 64 + index + 1)) }
      if levels > 0, !goDown(levels - 1, owner) { return false }
      for index in 0..<32 where ca_load(address + UInt(index) * 8) != owner &* UInt64(levels * 64 + index + 1) {
        return false
      }
      return true
    }
  }

  private func goDownOften(_ owner: UInt) {
    var held = true
    // Deeper each time, so that growth comes at many places.
    for levels in 1...36 {
      for _ in 0..<100 { held = goDown(levels, UInt64(owner)) && held }
    }
    if held { intact += 1 }
    finished += 1
  }

  func testGrowth() -> Bool {
    withUnsafeMutablePointer(to: &firstThread) {
      startThread($0, id: -2, body: { goDownOften($0) }, argument: 3)
    }
    withUnsafeMutablePointer(to: &secondThread) {
      startThread($0, id: -3, body: { goDownOften($0) }, argument: 5)
    }
    let first = base(of: firstThread.stackBase)
    let second = base(of: secondThread.stackBase)
    let stacks = KernelObjects.processes
    let isGrowing = stacks.pointee.stacks.configuration.strategy == .growing
    let before = stacks.pointee.stacks.mappedPageCount(first)
    while withUnsafePointer(to: &finished, { ca_load(UInt(bitPattern: $0)) }) < 2 { Scheduler.yield() }
    var passed = check("every level found what it had left", intact == 2)
    passed = check("threads were preempted", Interrupts.threadPreemptionCount > 2) && passed
    for index in 0..<2 {
      let stack = index == 0 ? first : second
      let used = stacks.pointee.stacks.highWaterByteCount(stack)
      let pages = stacks.pointee.stacks.mappedPageCount(stack)
      passed = check("a thread used most of its stack", used > 8192 && pages >= 3) && passed
    }
    passed = check("a growing stack began with one page", !isGrowing || before == 1) && passed
    return passed
  }

  private func base(of lowestUsable: UInt) -> VirtualAddress {
    KernelObjects.processes.pointee.stacks.geometry.stackBase(containing: VirtualAddress(lowestUsable))
  }

  // Uses all of its stack but the lowest page, keeps it, and never ends.
  private func keepAll() {
    let pages = VirtualAddress(Thread.current.pointee.stackBase) + pageSize
    let here = VirtualAddress(UInt(ca_stack_pointer()))
    do {
      try Scheduler.withEnsured(here - pages) {
        _ = ca_disable_interrupts()
        while true { Scheduler.wait() }
      }
    } catch { fail("stack", error) }
  }

  /// Of 6 frames for each CPU, 3 in its reserve and 3 set aside for refills, each thread keeps 2, and can only be switched in
  /// where there are 3: so of 3 threads for each CPU all run but the last.
  func testStall() -> Never {
    let processes = KernelObjects.processes
    processes.pointee.beginThreads(.rest, seed: 1)
    do {
      for _ in 0..<3 * AArch64().cpuCount {
        prepareKernelThread(try processes.pointee.makeThread(), body: { _ in keepAll() })
      }
    } catch { fail("thread", error) }
    // Reserves are full, and CPUs have no free frames of their own, when somebody else takes all there is.
    processes.pointee.settle()
    _ = ca_disable_interrupts()
    while (try? processes.pointee.stacks.frames.allocate(FrameRequest(purpose: .ballast))) != nil {}
    processes.pointee.visitThreads()
    while processes.pointee.wakeNext(where: { _ in true }, resume: { wakeKernelThread($0) }) {}
    while true { Scheduler.wait() }
  }
#endif
