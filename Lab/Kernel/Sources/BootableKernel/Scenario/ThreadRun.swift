// The thread program on the real machine: each frame it enters is a call, with its words on the thread's own stack.
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios

/// The state of a thread's program.
///
/// It lies at the top of the thread's stack.
private struct ThreadRun {
  let thread: KernelThreadPointer
  let stackBase: UInt
  let stackTop: UInt
  var program: ThreadProgram
  var depth = 0
  var isIntact = true
}

/// The body of every thread of a scenario.
func runThreadProgram(_ address: UInt) {
  guard let thread = KernelThreadPointer(bitPattern: address) else { return }
  var run = ThreadRun(
    thread: thread, stackBase: Thread.current.pointee.stackBase,
    stackTop: UInt(Thread.current.pointee.head.stack_top),
    program: KernelObjects.processes.pointee.threadProgram(of: thread))
  withUnsafeMutablePointer(to: &run) { carryOut($0) }
  inAllocatorSection { KernelObjects.processes.pointee.threadEnds(thread, intact: run.isIntact) }
}

/// Carries out actions until the program leaves the current frame.
@inline(never)
private func carryOut(_ run: UnsafeMutablePointer<ThreadRun>) {
  while true {
    switch run.pointee.program.next(bytesLeft: Int(UInt(ca_stack_pointer()) &- run.pointee.stackBase)) {
    case .enter(.small): enterSmall(run)
    case .enter(.medium): enterMedium(run)
    case .enter(.large): enterLarge(run)
    case .overflow: leaveStack(&run.pointee.thread.pointee.registry)
    case .leave, .end: return
    case .yield: Scheduler.yield()
    case .sleep: sleepKernelThread(run.pointee.thread)
    case .ensure(let bytes, let sleeps): makeRoom(run, bytes, sleeps)
    }
  }
}

/// Ensures `bytes` of stack, writes the lowest word, and checks it after other threads have run.
@inline(never)
private func makeRoom(_ run: UnsafeMutablePointer<ThreadRun>, _ bytes: Int, _ sleeps: Bool) {
  let lowest = UInt(ca_stack_pointer()) &- UInt(bytes)
  let held = try? Scheduler.withEnsured(bytes) {
    let isMapped = KernelObjects.stacks.pointee.page(of: VirtualAddress(lowest)) != nil
    ca_store(lowest, UInt64(lowest))
    if sleeps { sleepKernelThread(run.pointee.thread) } else { Scheduler.yield() }
    return isMapped && ca_load(lowest) == UInt64(lowest)
  }
  if held != true { run.pointee.isIntact = false }
}

@inline(never)
private func enterSmall(_ run: UnsafeMutablePointer<ThreadRun>) {
  var words = InlineArray<8, UInt64>(repeating: 0)
  withUnsafeMutablePointer(to: &words) { carryOut(run, in: UInt(bitPattern: $0), .small) }
}

@inline(never)
private func enterMedium(_ run: UnsafeMutablePointer<ThreadRun>) {
  var words = InlineArray<40, UInt64>(repeating: 0)
  withUnsafeMutablePointer(to: &words) { carryOut(run, in: UInt(bitPattern: $0), .medium) }
}

@inline(never)
private func enterLarge(_ run: UnsafeMutablePointer<ThreadRun>) {
  var words = InlineArray<128, UInt64>(repeating: 0)
  withUnsafeMutablePointer(to: &words) { carryOut(run, in: UInt(bitPattern: $0), .large) }
}

// Words are stored and loaded one by one, so that the compiler cannot know their values.
@inline(__always)
private func carryOut(_ run: UnsafeMutablePointer<ThreadRun>, in words: UInt, _ size: ThreadFrameSize) {
  run.pointee.depth += 1
  run.pointee.thread.pointee.note(byteCount: Int(run.pointee.stackTop &- words))
  let frame = ThreadFrame(owner: Int(run.pointee.thread.pointee.number), depth: run.pointee.depth)
  for index in 0..<size.wordCount { ca_store(words &+ UInt(index) &* 8, frame.word(index)) }
  carryOut(run)
  for index in 0..<size.wordCount where ca_load(words &+ UInt(index) &* 8) != frame.word(index) {
    run.pointee.isIntact = false
  }
  run.pointee.depth -= 1
}
