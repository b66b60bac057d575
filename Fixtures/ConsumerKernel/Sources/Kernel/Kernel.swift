// Forks a few tasks with each strategy and checks what a kernel relies on.

import Board
import KernelStacks
import Machine

@main struct Kernel { static func main() {} }

/// Where the boot code arrives.
@c func kernel_main() {
  guard let ram = BoardMemory() else { fail("RAM was refused") }
  do {
    // Each allocator is gone, and with it its page frames, before the next one begins.
    exercise(
      try Stacks(
        StackConfiguration(.linear), machine: Virt(), frames: ram.frames(),
        arena: VmallocArea(0xffff_ff80_0800_0000..<0xffff_ffbc_0000_0000, machine: Virt())),
      ram.tasks, name: "linear")
    exercise(try makeStacks(frames: ram.frames()), ram.tasks, name: "vmalloc")
  } catch {
    fail("an allocator was refused")
  }
  board_exit(0)
}

/// The board's 128 MiB of RAM, and the parts of it that the kernel keeps for itself.
struct BoardMemory {
  var map = PhysicalMemoryMap()
  var metadata: UnsafeMutableRawBufferPointer
  var tasks: UnsafeMutablePointer<Task>

  init?() {
    let start = PhysicalAddress(0x4000_0000)
    let imageEnd = PhysicalAddress(board_image_end())
    let tasksBytes = 4096
    do {
      try map.addMemory(start: start, byteCount: 128 << 20, node: NodeID(0))
      let metadataBytes = (BuddyAllocator<Virt>.metadataByteCount(for: map) + 4095) & ~4095
      try map.reserve(
        start: start, byteCount: Int(imageEnd.rawValue - start.rawValue) + tasksBytes + metadataBytes)
      tasks = Virt().pointer(to: imageEnd).bindMemory(to: Task.self, capacity: 8)
      metadata = UnsafeMutableRawBufferPointer(
        start: Virt().pointer(to: imageEnd + tasksBytes), count: metadataBytes)
    } catch {
      return nil
    }
  }

  /// A fresh allocator of all of it; the one before must be gone.
  func frames() -> BuddyAllocator<Virt> {
    do {
      return try BuddyAllocator(frames: map, metadata: metadata, machine: Virt())
    } catch {
      fail("the page frames were refused")
    }
  }
}

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

func print(_ text: StaticString) {
  for index in 0..<text.utf8CodeUnitCount { board_put(text.utf8Start[index]) }
}

func fail(_ text: StaticString) -> Never {
  print("failed: ")
  print(text)
  print("\n")
  board_exit(1)
}
