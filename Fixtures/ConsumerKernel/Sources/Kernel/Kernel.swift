// Gives tasks their stacks by each strategy, and lets a stack grow.

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
    let growing = try Stacks(
      StackConfiguration(.growing), machine: Virt(), frames: ram.frames(),
      arena: VmallocArea(0xffff_ff80_0800_0000..<0xffff_ffbc_0000_0000, machine: Virt()))
    try growAStack(from: growing)
    // The first thread has emptied the reserve.
    try growAStack(from: growing)
  } catch {
    fail("an allocator, or a stack, was refused")
  }
  board_exit(0)
}
