// Processes that do what an input says, and what each of them should see of it.
//
// One runs at a time, as on a machine with one CPU. A system call that has to wait is made again when its process is chosen
// again, which is what the kernel's loops come to.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine
import SystemCallInterface
import UserPrograms

/// A process, as its parent and itself should find it.
struct Guest {
  enum State: Equatable {
    case ready
    case waitsForAny
    case waitsFor(Int)
    case holds
    case dead
  }

  let task: TaskPointer
  var parent: Int?
  var state = State.ready
  var status = 0
  var end = EndOfProcess.exited
  /// The words that it has stored, or its parent had when it forked.
  var words: [UInt: UInt64] = [:]
  var stackPointer = GuestProgram.stackTop
}

/// All processes of a run.
final class GuestProcesses {
  let kernel: SmallKernel
  var input: InputReader
  /// By number.
  var guests: [Int: Guest] = [:]
  /// Who is on the CPU.
  var current = 0
  /// The first process's number.
  private(set) var first = 0
  /// What should have held and did not.
  var finding: Finding?

  /// How many actions an input has at most.
  private static let limit = 400

  init(_ kernel: SmallKernel, _ input: InputReader) {
    self.kernel = kernel
    self.input = input
  }

  var processes: UnsafeMutablePointer<Processes<HostedParts<Simulated>>> { kernel.processes }

  /// Runs the first process to its end.
  func run(_ task: TaskPointer) {
    first = Int(task.pointee.processID)
    task.pointee.state = .runnable
    guests[first] = Guest(task: task)
    do throws(Finding) {
      if enter(first) { try act() }
      if guests[first]?.state != .dead { try end(first, status: 0) }
      processes.pointee.frameWatch.pointee.allowAll()
      try kernel.expectConsistency(of: guests.values.map(\.task))
    } catch { finding = error }
    // What a finding has interrupted is not brought to an end.
    if finding != nil, guests[first]?.state != .dead { task.pointee.state = .zombie }
  }

  private func act() throws(Finding) {
    for _ in 0..<Self.limit where !input.isAtEnd && guests[first]?.state != .dead {
      guard guests[current]?.state == .ready || goOn(below: 0) else { return }
      switch input.below(16) {
      case 0: try call(number: input.word(), number(), number())
      case 1...6: try call(number: UInt64(1 + input.below(11)), number(), number())
      case 7, 8: try load(address())
      case 9, 10: try store(UInt64(input.byte()) &* 0x0101_0101_0101_0101, at: address())
      case 11: try fetch(address())
      case 12: _ = goOn(below: input.below(256))
      case 13: guests[current]?.stackPointer = address()
      case 14:
        processes.pointee.frameWatch.pointee.refuse(
          allocation: 1 + input.below(16), andAllAfter: input.byte() & 1 == 1)
      default: happen(input.below(4))
      }
    }
  }

  // What the kernel does by itself.
  private func happen(_ event: Int) {
    switch event {
    case 0: processes.pointee.frameWatch.pointee.allowAll()
    case 1: processes.pointee.reclaim()
    case 2: processes.pointee.stacks.age()
    default: processes.pointee.settleThisCPU()
    }
  }

  /// Switches to the next process in the order of numbers, round and round, that can go on.
  ///
  /// - Parameter skipped: how many are passed over.
  /// - Returns: whether there is one.
  private func goOn(below skipped: Int) -> Bool {
    let numbers = guests.filter { canGoOn($0.value) }.keys.sorted()
    guard !numbers.isEmpty else { return false }
    for offset in 0..<numbers.count where enter(numbers[(skipped + offset) % numbers.count]) { return true }
    return false
  }

  private func canGoOn(_ guest: Guest) -> Bool {
    let number = Int(guest.task.pointee.processID)
    return switch guest.state {
    case .ready: true
    case .holds, .dead: false
    case .waitsForAny: !guests.values.contains { $0.parent == number } || deadChildren(of: number) > 0
    case .waitsFor(let child):
      guests[child].map { $0.parent != number || [.holds, .dead].contains($0.state) } ?? true
    }
  }

  func deadChildren(of number: Int) -> Int {
    guests.values.count { $0.parent == number && $0.state == .dead }
  }

  /// Puts a process on the CPU, if its kernel stack can grow to its end.
  private func enter(_ number: Int) -> Bool {
    guard let task = guests[number]?.task else { return false }
    if let base = task.pointee.stack?.base, !processes.pointee.stacks.prepareToRun(base) { return false }
    current = number
    guests[number]?.state = .ready
    let interrupts = kernel.machine.disableInterrupts()
    processes.pointee.enterAddressSpace(of: task) {
      kernel.machine.activate(root: task.pointee.addressSpaceRoot, space: $0)
    }
    kernel.machine.restoreInterrupts(interrupts)
    return true
  }

  /// Ends a process, as its successor on the CPU would.
  func end(_ number: Int, status: Int, _ end: EndOfProcess = .exited) throws(Finding) {
    guard let guest = guests[number] else { return }
    kernel.machine.activate(root: nil)
    processes.pointee.exit(guest.task, status: status, end: end)
    processes.pointee.hasStopped(guest.task)
    guests[number]?.state = .dead
    guests[number]?.status = status
    guests[number]?.end = end
    guests[number]?.words = [:]
    for child in guests.keys where guests[child]?.parent == number {
      guests[child]?.parent = number == first ? nil : first
    }
    try kernel.expectNoViolation()
  }

  // MARK: What an input chooses

  /// An address that means something, or any.
  func address() -> UInt {
    let place = UInt(input.byte()) << 4
    return switch input.below(14) {
    case 0, 1: GuestProgram.data + place
    case 2: GuestProgram.data + 4096 + place
    case 3: GuestProgram.data + 4 * 4096 - 8 - place
    case 4: GuestProgram.code + place
    case 5, 6: GuestProgram.stackTop - 8 - place
    case 7: GuestProgram.stackTop + place
    case 8: GuestProgram.data - 8 - place
    case 9: kernel.machine.linearAddress(of: processes.pointee.lowestFrame).rawValue + place
    case 10: place
    // What is the program's but for bits that no table looks at.
    case 12: (GuestProgram.data + place) | 0xffff_ff80_0000_0000
    case 13: (GuestProgram.data + place) | 1 << (39 + place % 25)
    default: UInt(input.word())
    }
  }

  /// The number of some process.
  private func anyGuest() -> Int {
    let numbers = guests.keys.sorted()
    return numbers[input.below(numbers.count)]
  }

  /// A number that means something, or any.
  func number() -> Int {
    switch input.below(10) {
    case 0: 0
    case 1, 2: input.below(64)
    case 3: -input.below(64)
    case 4: Int.max - input.below(4)
    case 5: Int.min + input.below(4)
    case 6: Int(bitPattern: address())
    case 8, 9: anyGuest()
    default: Int(truncatingIfNeeded: input.word())
    }
  }
}
