// What a kernel relies on when it gives tasks their stacks, checked.

import Board
import KernelStacks
import Machine

/// Gives eight tasks their stacks, twice, and checks the memory and the guard of each.
func exercise(_ stacks: borrowing Stacks, _ tasks: UnsafeMutablePointer<Task>, name: StaticString) {
  for _ in 0..<2 {
    for index in 0..<8 {
      do { try fork(tasks + index, id: index, from: stacks) } catch { fail("fork was refused") }
      check(tasks + index, guarded: stacks.configuration.strategy == .vmalloc)
    }
    for index in 0..<8 { reap(tasks + index, into: stacks) }
  }
  _ = stacks.reclaim(target: .max)
  guard stacks.kernelStackKiB(on: NodeID(0)) == 0 else { fail("stacks are left over") }
  print(name)
  print(": 16 stacks forked, zeroed and reaped\n")
}

/// A task's stack reads as zero, can be written everywhere, and has nothing mapped below it if it is guarded.
func check(_ task: UnsafeMutablePointer<Task>, guarded: Bool) {
  guard let (base, size) = task.pointee.stack.bounds,
    let words = base.pointer?.assumingMemoryBound(to: UInt64.self)
  else { fail("a task has no stack") }
  for index in 0..<size / 8 {
    if words[index] != 0 { fail("a stack was not zero") }
    words[index] = UInt64(task.pointee.id) &+ 1
  }
  if guarded, board_is_mapped((base - 8).rawValue) != 0 { fail("the guard is mapped") }
}

extension Optional where Wrapped == ThreadStack {
  /// Base and size, without taking the stack out.
  var bounds: (VirtualAddress, Int)? {
    switch self {
    case .some(let stack): (stack.base, stack.size)
    case .none: nil
    }
  }
}
