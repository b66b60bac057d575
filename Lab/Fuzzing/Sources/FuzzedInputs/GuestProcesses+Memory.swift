// Accesses of guests: each reads what it or its ancestors have stored, and nothing of anybody else's; what it has no right to
// is its end.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine
import SystemCallInterface
import UserPrograms

extension GuestProcesses {
  /// What a word should hold for a process.
  func word(at address: UInt, of number: Int) -> UInt64 {
    guests[number]?.words[address] ?? GuestProgram.initialWord(at: address)
  }

  func load(_ address: UInt) throws(Finding) {
    let address = address & ~7
    let machine = kernel.machine
    let value = try access(.read, at: address) { () throws(SimulatedFault) -> UInt64 in
      try machine.load(VirtualAddress(address), privilege: .user)
    }
    guard let value else { return }
    try require(value == word(at: address, of: current), "a process reads what is its own")
  }

  func store(_ value: UInt64, at address: UInt) throws(Finding) {
    let address = address & ~7
    let machine = kernel.machine
    let isDone: Void? = try access(.write, at: address) { () throws(SimulatedFault) in
      try machine.store(value, to: VirtualAddress(address), privilege: .user)
    }
    if isDone != nil { guests[current]?.words[address] = value }
  }

  func fetch(_ address: UInt) throws(Finding) {
    let machine = kernel.machine
    _ = try access(.execute, at: address & ~7) { () throws(SimulatedFault) in
      try machine.fetch(VirtualAddress(address & ~7), privilege: .user)
    }
  }

  /// Repeats an access until it succeeds, as the handler of exceptions makes the CPU do; `nil` if it was the process's end.
  private func access<Value>(
    _ access: UserAccess, at address: UInt, _ body: () throws(SimulatedFault) -> Value
  ) throws(Finding) -> Value? {
    guard let task = guests[current]?.task else { return nil }
    let isAllowed = GuestProgram.allows(access, at: address)
    // A fault may be taken once more on an older translation.
    for _ in 0..<4 {
      let value: Value
      do throws(SimulatedFault) { value = try body() } catch {
        switch processes.pointee.handleUserFault(task, address: VirtualAddress(address), access: access) {
        case .resolved: continue
        case .violation:
          try require(!isAllowed, "a process gets at what is its own")
          try end(current, status: 0, .accessViolation)
        case .outOfMemory:
          try require(access == .write && isAllowed, "only a copy needs memory")
          try end(current, status: 0, .outOfMemory)
        }
        return nil
      }
      try require(isAllowed, "a process gets at nothing that it has no right to")
      return value
    }
    throw Finding(description: "a fault that was resolved does not come again")
  }
}
