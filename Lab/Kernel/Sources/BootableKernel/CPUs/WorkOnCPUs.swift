// Work that CPUs do at the same time, each its own part of it, in its idle thread: that never moves to another CPU.
//
//     who asks                          each CPU that is asked
//     function, argument, a bit for     its idle thread sees its bit, calls the function, clears the bit,
//     each CPU; an interrupt to each    and wakes who asked
//     waits until no bit is left
//
// While stacks are measured, without a scheduler, CPUs have no idle threads: they look for their bits in a loop.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelStacks

  nonisolated(unsafe) private var function: (@convention(c) (UInt) -> Void)?
  nonisolated(unsafe) private var argument: UInt = 0
  nonisolated(unsafe) private var asker: UInt = 0
  // A bit for each CPU that has not done its part. What is above is written before.
  nonisolated(unsafe) private var outstanding: UInt64 = 0

  /// Whether this CPU has a part of the work to do.
  ///
  /// Interrupts are off.
  var hasWork: Bool { ca_load_acquire(&outstanding) & 1 << ca_cpu_number() != 0 }

  /// Has CPUs call a function at the same time, in their idle threads, and waits until all have returned.
  ///
  /// For a thread with nothing ready besides it; one at a time. The CPUs are online and stay so. The function may be
  /// interrupted, and may allocate; what `argument` leads to stays where it is meanwhile.
  ///
  /// - Parameter cpus: a bit for each CPU; that of the caller's CPU may be among them.
  func runOnIdleThreads(_ cpus: UInt64, _ work: @convention(c) (UInt) -> Void, _ address: UInt) {
    function = work
    argument = address
    asker = UInt(bitPattern: Thread.current)
    ca_store_release(&outstanding, cpus)
    let state = ca_disable_interrupts()
    forEachCPU { number, _ in
      if cpus & 1 << UInt64(number) != 0 { InterprocessorInterrupt.reschedule.send(to: number) }
    }
    while ca_load_acquire(&outstanding) != 0 { Scheduler.wait() }
    ca_restore_interrupts(state)
  }

  /// Does this CPU's part of the work, in its idle thread.
  func workOnIdleThread() {
    function?(argument)
    let state = ca_disable_interrupts()
    ca_clear_bits(&outstanding, 1 << ca_cpu_number())
    if let thread = ThreadPointer(bitPattern: asker) { Scheduler.wake(thread) }
    ca_restore_interrupts(state)
  }

  // MARK: Without a scheduler

  /// Has all CPUs that wait in ``workForEver()``, and this one, call a function at the same time, and waits until all have
  /// returned.
  ///
  /// Interrupts are off.
  func runOnMeasuredCPUs(_ count: Int, _ work: @convention(c) (UInt) -> Void, _ value: UInt) {
    function = work
    argument = value
    ca_store_release(&outstanding, (1 << UInt64(count) - 1) & ~(1 << ca_cpu_number()))
    ca_send_event()
    work(value)
    while ca_load_acquire(&outstanding) != 0 { ca_wait_for_event() }
  }

  /// Does this CPU's part of whatever there is to do; interrupts are off.
  func workForEver() -> Never {
    while true {
      while !hasWork { ca_wait_for_event() }
      function?(argument)
      ca_clear_bits(&outstanding, 1 << ca_cpu_number())
      ca_send_event()
    }
  }
#endif
