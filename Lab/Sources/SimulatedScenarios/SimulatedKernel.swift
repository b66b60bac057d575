// The machine's part of a simulated kernel: the current process, faults, and the end of processes.
//
// Programs are called on the host's stack. A process is current from `enter` until another is; a forked child runs as a call
// inside its parent's fork until it holds, and later as a call inside its parent's release.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine
import SystemCallInterface
import UserPrograms

/// A kernel on the simulated machine, as far as processes need one.
final class SimulatedKernel {
  let machine: Simulated
  let processes: UnsafeMutablePointer<Processes<SimulatedParts>>
  let console: LineConsole
  let image: ProgramImage
  /// Whether pages are lent to what runs, in place of growth on a fault.
  let lends: Bool

  /// The continuation of each child that holds, by its number.
  var afterHold: [Int: (SimulatedSystemCalls) -> Int] = [:]
  /// Whether an overflow was found late: then actions of processes and threads have no effect any more.
  var hasPanicked = false
  /// The process on the CPU.
  private var current: TaskPointer?
  /// Processes that were killed, whose calls on the host's stack have not returned yet.
  var killed: [TaskPointer: EndOfProcess] = [:]

  init(
    machine: Simulated, processes: UnsafeMutablePointer<Processes<SimulatedParts>>, console: LineConsole,
    image: ProgramImage, lends: Bool
  ) {
    self.lends = lends
    self.machine = machine
    self.processes = processes
    self.console = console
    self.image = image
  }

  /// Switches to a process: fills the reserve for its stack, and enters its address space.
  func enter(_ task: TaskPointer) {
    if current != task { checkEnd(of: current?.pointee.stack?.base) }
    takePagesBack()
    current = task
    if let base = task.pointee.stack?.base {
      precondition(
        processes.pointee.stacks.prepareToRun(base),
        "a process would wait for its stack, and nobody else can run")
      lendPages(to: base)
    }
    guard task.pointee.addressSpaceRoot != PhysicalAddress(0) else { return machine.activate(root: nil) }
    let interrupts = machine.disableInterrupts()
    processes.pointee.enterAddressSpace(of: task) { [machine] in
      machine.activate(root: task.pointee.addressSpaceRoot, space: $0)
    }
    machine.restoreInterrupts(interrupts)
  }

  /// Ends a process, with the steps of its successor on the CPU.
  func end(_ task: TaskPointer, status: Int) {
    checkEnd(of: task.pointee.stack?.base)
    takePagesBack()
    current = nil
    machine.activate(root: nil)
    if let reason = killed.removeValue(forKey: task) {
      processes.pointee.exit(task, status: 0, end: reason)
    } else {
      processes.pointee.exit(task, status: status)
    }
    processes.pointee.hasStopped(task)
  }

  /// Lends what a stack lacks, before this CPU runs its owner, if the kernel lends.
  func lendPages(to base: VirtualAddress) {
    guard lends else { return }
    let interrupts = machine.disableInterrupts()
    processes.pointee.stacks.lender.lend(to: base)
    machine.restoreInterrupts(interrupts)
  }

  /// Takes back what this CPU has lent, if the kernel lends.
  func takePagesBack() {
    guard lends else { return }
    let interrupts = machine.disableInterrupts()
    processes.pointee.stacks.lender.takeBack()
    machine.restoreInterrupts(interrupts)
  }

  /// Runs the first process to its end.
  func run(_ first: TaskPointer, _ arguments: ProgramArguments) {
    first.pointee.state = .runnable
    if let base = first.pointee.stack?.base { placeEndMarker(base) }
    enter(first)
    let calls = SimulatedSystemCalls(kernel: self, task: first)
    calls.fetch(image.entry)
    end(first, status: runProgram(arguments, on: calls))
  }

  /// Repeats an access until it succeeds; kills the process and returns `nil` if the access is not allowed.
  func access<Value>(
    _ task: TaskPointer, _ address: VirtualAddress, _ access: UserAccess,
    _ body: () throws(SimulatedFault) -> Value
  ) -> Value? {
    guard killed[task] == nil, !hasPanicked else { return nil }
    // A fault may be taken once more on an older translation; endless faults are an error of the handler.
    for _ in 0..<8 {
      do throws(SimulatedFault) { return try body() } catch {
        switch processes.pointee.handleUserFault(task, address: address, access: access) {
        case .resolved: continue
        case .violation: killed[task] = .accessViolation
        case .outOfMemory: killed[task] = .outOfMemory
        }
        return nil
      }
    }
    preconditionFailure("an access to \(address) faults although its fault was resolved")
  }
}
