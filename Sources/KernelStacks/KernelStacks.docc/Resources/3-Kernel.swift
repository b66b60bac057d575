// Gives tasks their stacks by two strategies.

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
