// Spin locks: taking them, waiting for them, and their misuse.
//
// The word of a lock is 0 when it is free, otherwise the number of the CPU that holds it, plus 1.

import KernelMachine

extension Simulation {
  func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState {
    step()
    let address = UInt(bitPattern: lock)
    let before = cpus[running].interruptsEnabled
    cpus[running].interruptsEnabled = false
    if lock.pointee.word == UInt64(running + 1) {
      report(.recursiveLock, "\(lockName(address)) is taken again by its holder")
      recursionDepth[address, default: 0] += 1
    } else {
      while lock.pointee.word != 0 {
        guard runner != nil else {
          report(
            .deadlock,
            "\(lockName(address)) is waited for, and CPU \(lock.pointee.word &- 1), which holds it, "
              + "cannot run")
          break
        }
        cpus[running].awaitedLock = address
        waitForOthers()
        cpus[running].awaitedLock = nil
      }
      lock.pointee.word = UInt64(running + 1)
    }
    cpus[running].heldLocks.append(address)
    counted.lockAcquisitions += 1
    record(.lock, lockIdentity(address), before ? 1 : 0)
    return InterruptState(rawValue: before ? 1 : 0)
  }

  func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {
    step()
    let address = UInt(bitPattern: lock)
    record(.unlock, lockIdentity(address), UInt64(state.rawValue))
    if let position = cpus[running].heldLocks.lastIndex(of: address) {
      cpus[running].heldLocks.remove(at: position)
      if let depth = recursionDepth[address] {
        recursionDepth[address] = depth == 1 ? nil : depth - 1
      } else {
        lock.pointee.word = 0
      }
    } else {
      report(
        .unlockNotHeld,
        lock.pointee.word == 0
          ? "\(lockName(address)) is released and was free"
          : "\(lockName(address)) is released, and CPU \(lock.pointee.word &- 1) holds it")
    }
    setInterrupts(state)
  }

  /// The name of a lock in the trace: the same in every run, unlike a host address.
  private func lockIdentity(_ address: UInt) -> UInt64 {
    UInt64(memory.physical(UnsafeRawPointer(bitPattern: address)!) ?? 0)
  }

  func lockName(_ address: UInt) -> String {
    if let physical = memory.physical(UnsafeRawPointer(bitPattern: address)!) {
      return "the lock at physical address \(hex(physical))"
    }
    return "the lock at host address \(hex(address))"
  }

  func lockHolder(_ address: UInt) -> Int {
    Int(truncatingIfNeeded: UnsafePointer<SpinLock>(bitPattern: address)!.pointee.word) - 1
  }

  func lockIsFree(_ address: UInt) -> Bool {
    UnsafePointer<SpinLock>(bitPattern: address)!.pointee.word == 0
  }
}
