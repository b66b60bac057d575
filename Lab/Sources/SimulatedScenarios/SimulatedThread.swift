// A simulated kernel thread: its stack pointer, its stack frames, and its program, whose accesses go through the MMU.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine

/// A thread's stack pointer, its stack frames, and its position in its program.
class SimulatedThread {
  let thread: KernelThreadPointer
  let bounds: StackBounds
  private(set) final var stackPointer: VirtualAddress
  let scheduled: ScheduledThreadPointer
  let kernel: SimulatedKernel
  private var program: ThreadProgram
  private(set) final var frames: [(address: VirtualAddress, size: ThreadFrameSize)] = []
  final var isIntact = true
  /// The ensured part of the stack, until the thread has left the CPU and come back.
  private var ensured: (lowest: VirtualAddress, floor: VirtualAddress)?

  init(
    _ thread: KernelThreadPointer, _ scheduled: ScheduledThreadPointer, _ bounds: StackBounds,
    _ kernel: SimulatedKernel, _ program: ThreadProgram
  ) {
    self.thread = thread
    self.scheduled = scheduled
    self.bounds = bounds
    self.kernel = kernel
    self.program = program
    stackPointer = bounds.top
  }

  /// Performs at most `actions` actions, until the thread yields the CPU.
  func run(actions: Int, _ machine: Simulated) {
    // Wake-ups may be spurious.
    if thread.pointee.state == .asleep {
      scheduled.pointee.request = .wait
      return
    }
    if let (lowest, floor) = ensured {
      // The ensured pages must be unchanged.
      if (try? machine.load(lowest)) != UInt64(lowest.rawValue) { isIntact = false }
      scheduled.pointee.floor = floor
      ensured = nil
    }
    for _ in 0..<actions {
      switch program.next(bytesLeft: stackPointer - bounds.base) {
      case .enter(let size): enter(size, machine)
      case .leave: leave(machine)
      case .ensure(let bytes, let sleeps):
        ensure(bytes, machine)
        return sleeps ? sleep() : ()
      case .overflow:
        if case .hitGuard = kernel.leaveStack(scheduled.pointee.stackBase, &thread.pointee.registry) {
          kernel.processes.pointee.threadOverflowed(thread)
          scheduled.pointee.request = .exit
        }
        return
      case .yield: return
      case .sleep: return sleep()
      case .end:
        kernel.processes.pointee.threadEnds(thread, intact: isIntact)
        scheduled.pointee.request = .exit
        return
      }
    }
  }

  final func sleep() {
    _ = kernel.processes.pointee.threadSleeps(thread)
    scheduled.pointee.request = .wait
  }

  // MARK: Frames

  final func enter(_ size: ThreadFrameSize, _ machine: Simulated) {
    // The registers saved by a call lie above the words.
    stackPointer = stackPointer - (size.byteCount + 96)
    frames.append((stackPointer, size))
    thread.pointee.note(byteCount: bounds.top - stackPointer)
    let frame = ThreadFrame(owner: Int(thread.pointee.number), depth: frames.count)
    for index in 0..<size.wordCount {
      access(stackPointer + index * 8, machine) { address throws(SimulatedFault) in
        try machine.store(frame.word(index), to: address)
      }
    }
  }

  final func leave(_ machine: Simulated) {
    let frame = ThreadFrame(owner: Int(thread.pointee.number), depth: frames.count)
    guard let (words, size) = frames.popLast() else { preconditionFailure("no frame is left to leave") }
    for index in 0..<size.wordCount {
      access(words + index * 8, machine) { address throws(SimulatedFault) in
        if try machine.load(address) != frame.word(index) { isIntact = false }
      }
    }
    stackPointer = frames.last?.address ?? bounds.top
  }

  /// Ensures `bytes` of stack, and uses the lowest word, which must not fault.
  private func ensure(_ bytes: Int, _ machine: Simulated) {
    let interrupts = machine.disableInterrupts()
    defer { machine.restoreInterrupts(interrupts) }
    let lowest = stackPointer - bytes
    do {
      let floor = try scheduled.pointee.ensure(
        bytes: bytes, below: stackPointer, grower: kernel.processes.pointee.stacks.grower)
      try machine.store(UInt64(lowest.rawValue), to: lowest)
      ensured = (lowest, floor)
    } catch { isIntact = false }
  }

  /// Performs an access; if it faults, grows the stack as an exception handler does, and repeats it.
  private func access(
    _ address: VirtualAddress, _ machine: Simulated,
    _ body: (VirtualAddress) throws(SimulatedFault) -> Void
  ) {
    // A fault may be taken once more on an older translation.
    for _ in 0..<4 {
      do throws(SimulatedFault) { return try body(address) } catch {
        guard !kernel.lends else { break }
        let interrupts = machine.disableInterrupts()
        let growth = kernel.processes.pointee.stacks.grower.grow(
          at: address, runningOn: scheduled.pointee.stackBase)
        machine.restoreInterrupts(interrupts)
        guard growth == .grown else { break }
      }
    }
    isIntact = false
  }
}
