// Threads of the kernel on the simulated machine: their programs are carried out action by action, each access in the
// thread's name through the MMU; a fault is growth, or a mistake.

import KernelStacks
import Scenarios
import SeededRandom
import SimulatedMachine

/// A thread's stack pointer, its frames, and how far it is with its program.
final class SimulatedThread {
  let thread: KernelThreadPointer
  let bounds: StackBounds
  var program: ThreadProgram
  var stackPointer: VirtualAddress
  var frames: [(address: VirtualAddress, size: ThreadFrameSize)] = []
  var isIntact = true

  init(_ thread: KernelThreadPointer, _ bounds: StackBounds, _ program: ThreadProgram) {
    self.thread = thread
    self.bounds = bounds
    self.program = program
    stackPointer = bounds.top
  }
}

/// Who runs next among the threads of a simulated kernel; one CPU.
final class SimulatedThreads {
  private let kernel: SimulatedKernel
  private var threads: [KernelThreadPointer: SimulatedThread] = [:]
  private var ready: [SimulatedThread] = []
  private var firstReady = 0
  private var refills: [SimulatedThread] = []
  private var random: SplitMix64

  init(kernel: SimulatedKernel, seed: UInt64) {
    self.kernel = kernel
    random = SplitMix64(seed: seed)
  }

  private var machine: Simulated { kernel.machine }
  private var stacks: UnsafeMutablePointer<Processes<Simulated>> { kernel.processes }

  func prepare(_ thread: KernelThreadPointer) {
    guard let bounds = thread.pointee.stack?.usableRange else { return }
    threads[thread] = SimulatedThread(thread, bounds, stacks.pointee.threadProgram(of: thread))
    if let base = thread.pointee.stack?.base { kernel.placeEndMarker(base) }
  }

  func resume(_ thread: KernelThreadPointer) {
    guard let simulated = threads[thread] else { preconditionFailure("a thread was not prepared") }
    ready.append(simulated)
  }

  /// Runs threads, each for some actions at a time, until none is awake.
  func run() {
    while !kernel.hasPanicked, let thread = next() {
      let base = thread.thread.pointee.stack?.base
      var actions = 1 + random.next(below: 40)
      running: while true {
        switch thread.program.next(bytesLeft: thread.stackPointer - thread.bounds.base) {
        case .enter(let size): enter(size, thread)
        case .leave: leave(thread)
        case .ensure: break
        case .yield:
          ready.append(thread)
          break running
        case .sleep:
          _ = stacks.pointee.threadSleeps(thread.thread)
          break running
        case .end:
          stacks.pointee.threadEnds(thread.thread, intact: thread.isIntact)
          stop(thread)
          break running
        case .overflow:
          if let base, case .hitGuard = kernel.leaveStack(base, &thread.thread.pointee.registry) {
            stacks.pointee.threadOverflowed(thread.thread)
            stop(thread)
          }
          break running
        }
        actions -= 1
        if actions == 0 {
          ready.append(thread)
          break
        }
      }
      if threads[thread.thread] != nil { kernel.checkEnd(of: base) }
    }
  }

  /// Takes back what a thread had, as its successor on the CPU would.
  private func stop(_ thread: SimulatedThread) {
    kernel.checkEnd(of: thread.thread.pointee.stack?.base)
    threads[thread.thread] = nil
    _ = stacks.pointee.threadHasStopped(thread.thread)
  }

  /// The next thread that may run: those that wait for frames first.
  private func next() -> SimulatedThread? {
    if let first = refills.first, mayRun(first, mayTakeFrames: true) { return refills.removeFirst() }
    while firstReady < ready.count {
      let thread = ready[firstReady]
      firstReady += 1
      if firstReady * 2 > ready.count {
        ready.removeFirst(firstReady)
        firstReady = 0
      }
      if mayRun(thread, mayTakeFrames: refills.isEmpty) { return thread }
      refills.append(thread)
    }
    precondition(refills.isEmpty, "every thread that could run waits for the frames that its stack may need")
    return nil
  }

  private func mayRun(_ thread: SimulatedThread, mayTakeFrames: Bool) -> Bool {
    guard let base = thread.thread.pointee.stack?.base else { return true }
    return stacks.pointee.stacks.prepareToRun(base, mayTakeFrames: mayTakeFrames)
  }

  // MARK: Frames

  private func enter(_ size: ThreadFrameSize, _ thread: SimulatedThread) {
    // What a call saves lies above the words.
    thread.stackPointer = thread.stackPointer - (size.byteCount + 96)
    thread.frames.append((thread.stackPointer, size))
    thread.thread.pointee.note(byteCount: thread.bounds.top - thread.stackPointer)
    let frame = ThreadFrame(owner: Int(thread.thread.pointee.number), depth: thread.frames.count)
    for index in 0..<size.wordCount {
      access(thread, thread.stackPointer + index * 8) { address throws(SimulatedFault) in
        try machine.store(frame.word(index), to: address)
      }
    }
  }

  private func leave(_ thread: SimulatedThread) {
    let frame = ThreadFrame(owner: Int(thread.thread.pointee.number), depth: thread.frames.count)
    guard let (words, size) = thread.frames.popLast() else { preconditionFailure("no frame is left to leave") }
    for index in 0..<size.wordCount {
      access(thread, words + index * 8) { address throws(SimulatedFault) in
        if try machine.load(address) != frame.word(index) { thread.isIntact = false }
      }
    }
    thread.stackPointer = thread.frames.last?.address ?? thread.bounds.top
  }

  /// An access of a thread; if it faults, its stack grows as in an exception, and it is repeated.
  private func access(
    _ thread: SimulatedThread, _ address: VirtualAddress,
    _ body: (VirtualAddress) throws(SimulatedFault) -> Void
  ) {
    for _ in 0..<4 {
      do throws(SimulatedFault) { return try body(address) } catch {
        guard let base = thread.thread.pointee.stack?.base,
          stacks.pointee.stacks.grower.grow(at: address, runningOn: base) == .grown
        else { break }
      }
    }
    thread.isIntact = false
  }
}
