// System calls of guests: the kernel does each as it does for a process at EL0, and its answer is compared with what the guests'
// history says.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine
import SystemCallInterface
import UserPrograms

extension GuestProcesses {
  /// Makes a system call in the name of the current process: what is in x8, x0 and x1.
  func call(number: UInt64, _ first: Int, _ second: Int) throws(Finding) {
    guard let guest = guests[current] else { return }
    let task = guest.task
    guard let number = SystemCallNumber(rawValue: number) else {
      return try end(current, status: 0, .illegalInstruction)
    }
    switch number {
    case .write: try write(task, UInt(bitPattern: first), second)
    case .fork: try fork(guest)
    case .exit: try end(current, status: first)
    case .wait: try wait(task)
    case .processID: try require(Int(task.pointee.processID) == current, "a process has its number")
    case .proveStack: try proveStack(task)
    case .hold:
      processes.pointee.hold(task)
      guests[current]?.state = .holds
    case .awaitChild: try awaitChild(first, task)
    case .release: try release(first, task)
    case .note: processes.pointee.takeNote(first, second, from: task, console: CollectedText())
    case .overflowStack:
      processes.pointee.prepareOverflow(of: &task.pointee.registry)
      try end(current, status: 0, .stackOverflow)
    }
  }

  private func write(_ task: TaskPointer, _ address: UInt, _ count: Int) throws(Finding) {
    let console = CollectedText()
    let result = processes.pointee.write(VirtualAddress(address), count: count, of: task, to: console)
    var readable = 0
    // No two parts of the program touch, and none is longer than 4 pages.
    while readable < min(count, 4 * 4096 + 1), GuestProgram.allows(.read, at: address &+ UInt(readable)) {
      readable += 1
    }
    try require(result == (count >= 0 && readable == count ? count : -1), "write tells what it has written")
    try require(result < 0 || console.bytes.count == count, "what was written is on the console")
    for (index, byte) in console.bytes.prefix(64).enumerated() {
      let place = address &+ UInt(index)
      let word = word(at: place & ~7, of: current)
      let expected = UInt8(truncatingIfNeeded: word >> (UInt64(place & 7) * 8))
      try require(byte == expected, "write writes what memory holds")
    }
  }

  private func fork(_ guest: Guest) throws(Finding) {
    let child: TaskPointer
    do {
      child = try processes.pointee.fork(guest.task, userStackPointer: VirtualAddress(guest.stackPointer))
    } catch { return }
    let number = Int(child.pointee.processID)
    try require(guests[number] == nil && number > 0, "a child gets a number that no other process has")
    child.pointee.state = .runnable
    guests[number] = Guest(task: child, parent: current, words: guest.words, stackPointer: guest.stackPointer)
  }

  private func wait(_ task: TaskPointer) throws(Finding) {
    switch processes.pointee.reap(childOf: task) {
    case .reaped(let ended):
      guard let child = guests.removeValue(forKey: ended.processID) else {
        throw Finding(description: "wait tells of a child that there was")
      }
      try require(child.parent == current && child.state == .dead, "wait tells of an own child that has ended")
      try require(child.status == ended.status && child.end == ended.end, "wait tells how a child has ended")
    case .noneEnded:
      try require(deadChildren(of: current) == 0, "wait finds a child that has ended")
      guests[current]?.state = .waitsForAny
    case .noChildren:
      try require(!guests.values.contains { $0.parent == current }, "wait finds a child if there is one")
    }
  }

  private func awaitChild(_ number: Int, _ task: TaskPointer) throws(Finding) {
    let state = processes.pointee.childState(number, of: task)
    let child = guests[number].flatMap { $0.parent == current ? $0 : nil }
    let expected: ChildState =
      switch child?.state {
      case nil: .none
      case .holds: .holding
      case .dead: .dead
      default: .running
      }
    try require(state == expected, "a parent is told what its child is doing")
    if state == .running { guests[current]?.state = .waitsFor(number) }
  }

  private func release(_ number: Int, _ task: TaskPointer) throws(Finding) {
    var released: [Int] = []
    let count = processes.pointee.release(number, of: task) { released.append(Int($0.pointee.processID)) }
    let expected = guests.filter {
      $0.value.parent == current && $0.value.state == .holds && (number == 0 || number == $0.key)
    }
    try require(
      count == expected.count && released.sorted() == expected.keys.sorted(),
      "the children that hold are released")
    for child in released { guests[child]?.state = .ready }
  }

  /// Stores to every page of the kernel stack, growing it as a fault would.
  private func proveStack(_ task: TaskPointer) throws(Finding) {
    guard let base = task.pointee.stack?.base, let range = processes.pointee.provenRange(of: task) else {
      return
    }
    var address = (range.top - 8).pageBase
    while address >= range.base.pageBase {
      let place = max(address, range.base)
      if !isStored(UInt64(place.rawValue) ^ UInt64(current), at: place) {
        let interrupts = kernel.machine.disableInterrupts()
        let growth = processes.pointee.stacks.grower.grow(at: place, runningOn: base)
        kernel.machine.restoreInterrupts(interrupts)
        try require(growth == .grown, "a kernel stack grows to its end")
        try require(
          isStored(UInt64(place.rawValue) ^ UInt64(current), at: place), "a page that has grown is there")
      }
      address = address - pageSize
    }
  }

  private func isStored(_ word: UInt64, at address: VirtualAddress) -> Bool {
    do throws(SimulatedFault) {
      try kernel.machine.store(word, to: address)
      return try kernel.machine.load(address) == word
    } catch { return false }
  }
}
