// The system calls of a simulated process. After a process was killed they have no effect: its program runs to its end on the
// host's stack.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine
import SystemCallInterface
import UserPrograms

/// The kernel as one simulated process sees it.
struct SimulatedSystemCalls: SystemCalls {
  let kernel: SimulatedKernel
  let task: TaskPointer

  private var isAlive: Bool { kernel.killed[task] == nil && !kernel.hasPanicked }

  func write(_ text: StaticString) {
    guard isAlive else { return }
    var console = kernel.console
    console.write(text)
  }

  func processID() -> Int { Int(task.pointee.processID) }

  func fork<Child: ChildProgram>(_ child: Child) -> Int {
    guard isAlive else { return ForkFailure.noMemory.rawValue }
    let childTask: TaskPointer
    do {
      childTask = try kernel.processes.pointee.fork(task, userStackPointer: kernel.image.stackTop)
    } catch {
      return ForkFailure.noMemory.rawValue
    }
    childTask.pointee.state = .runnable
    if let base = childTask.pointee.stack?.base { kernel.placeEndMarker(base) }
    kernel.enter(childTask)
    let calls = SimulatedSystemCalls(kernel: kernel, task: childTask)
    calls.fetch(kernel.image.entry)
    let proven = child.prove(on: calls)
    if proven && calls.isAlive {
      kernel.processes.pointee.hold(childTask)
      kernel.afterHold[calls.processID()] = { child.finish(on: $0) }
    } else {
      kernel.end(childTask, status: failedProof)
    }
    kernel.enter(task)
    return Int(childTask.pointee.processID)
  }

  func awaitChild(_ processID: Int) -> ChildState {
    isAlive ? kernel.processes.pointee.childState(processID, of: task) : .none
  }

  func release(_ processID: Int) -> Int {
    guard isAlive else { return 0 }
    var released: [TaskPointer] = []
    let count = kernel.processes.pointee.release(processID, of: task) { released.append($0) }
    for child in released {
      kernel.enter(child)
      let calls = SimulatedSystemCalls(kernel: kernel, task: child)
      let status = kernel.afterHold.removeValue(forKey: calls.processID())!(calls)
      kernel.end(child, status: status)
    }
    kernel.enter(task)
    return count
  }

  func wait() -> EndedChild? {
    guard isAlive else { return nil }
    switch kernel.processes.pointee.reap(childOf: task) {
    case .reaped(let ended): return ended
    case .noChildren: return nil
    case .noneEnded: preconditionFailure("a process waits for children that nobody will release")
    }
  }

  func proveStack() -> Bool {
    guard isAlive else { return false }
    guard let range = kernel.processes.pointee.provenRange(of: task) else { return false }
    let proof = StackProof(processID: processID())
    let filled = visitStack(range) { pointer, address in
      pointer.pointee = proof.word(at: address)
      return true
    }
    return filled && visitStack(range, keepingContents: true) { $0.pointee == proof.word(at: $1) }
  }

  /// Calls `body` with every word of a stack; checks page by page that the MMU leads to the frame that the allocator gives.
  private func visitStack(
    _ range: StackBounds, keepingContents: Bool = false, _ body: (UnsafeMutablePointer<UInt64>, UInt) -> Bool
  ) -> Bool {
    var address = range.base
    while address < range.top {
      if kernel.processes.pointee.stacks.page(of: address) == nil { growStack(to: address) }
      guard let frame = kernel.processes.pointee.stacks.page(of: address) else { return false }
      let page = kernel.machine.pointer(to: frame.physicalAddress)
      let first = page + Int(address.rawValue & 0xfff)
      do throws(SimulatedFault) {
        if !keepingContents { try kernel.machine.store(UInt64(address.rawValue), to: address) }
        guard try kernel.machine.load(address) == first.load(as: UInt64.self) else { return false }
      } catch { return false }
      let end = min((address.pageBase + pageSize).rawValue, range.top.rawValue)
      for word in stride(from: address.rawValue, to: end, by: 8) {
        guard body((page + Int(word & 0xfff)).assumingMemoryBound(to: UInt64.self), word) else { return false }
      }
      address = VirtualAddress(end)
    }
    return true
  }

  /// Performs an access, and handles its fault as an exception handler does.
  private func growStack(to address: VirtualAddress) {
    do throws(SimulatedFault) { let _: UInt64 = try kernel.machine.load(address) } catch {
      guard let base = task.pointee.stack?.base else { return }
      _ = kernel.processes.pointee.stacks.grower.grow(at: address, runningOn: base)
    }
  }

  func overflowStack() {
    guard isAlive, let base = task.pointee.stack?.base else { return }
    if case .hitGuard = kernel.leaveStack(base, &task.pointee.registry) { kernel.killed[task] = .stackOverflow }
  }

  func note(_ note: Note, _ value: Int) {
    guard isAlive else { return }
    kernel.processes.pointee.takeNote(note.rawValue, value, from: task, console: kernel.console)
  }

  var threadPointer: UInt64 {
    get { task.pointee.threadPointer }
    nonmutating set { task.pointee.threadPointer = newValue }
  }

  /// A simulated CPU has no registers, so no index is valid.
  func touchForbidden(_ index: Int) -> Bool { false }

  func load(_ address: UInt) -> UInt64 {
    let address = VirtualAddress(address)
    return kernel.access(task, address, .read) { () throws(SimulatedFault) in
      try kernel.machine.load(address, as: UInt64.self, privilege: .user)
    } ?? 0
  }

  func store(_ value: UInt64, at address: UInt) {
    let address = VirtualAddress(address)
    _ = kernel.access(task, address, .write) { () throws(SimulatedFault) in
      try kernel.machine.store(value, to: address, privilege: .user)
    }
  }

  /// Fetches an instruction, as a process does when it continues.
  func fetch(_ address: VirtualAddress) {
    _ = kernel.access(task, address, .execute) { () throws(SimulatedFault) in
      try kernel.machine.fetch(address, privilege: .user)
    }
  }

  var scratchPage: UInt { SimulatedProgram.scratchPage }

  var kernelMemory: UInt { kernel.machine.linearAddress(of: kernel.processes.pointee.lowestFrame).rawValue }
}
