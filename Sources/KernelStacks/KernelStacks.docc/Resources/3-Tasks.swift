// Tasks with stacks from KernelStacks: the example of the package's README.

import KernelStacks
import Machine

typealias Stacks = ThreadStackAllocator<Virt, BuddyAllocator<Virt>, VmallocArea<Virt>>

struct Task: ~Copyable {
  let id: Int
  var stack: ThreadStack?
}

func fork(_ task: UnsafeMutablePointer<Task>, id: Int, from stacks: borrowing Stacks) throws(ThreadStackError) {
  task.initialize(to: Task(id: id, stack: try stacks.allocate(node: nil)))
}

func reap(_ task: UnsafeMutablePointer<Task>, into stacks: borrowing Stacks) {
  if let stack = task.pointee.stack.take() { stacks.free(stack) }
  task.deinitialize(count: 1)
}

func makeStacks(frames: consuming BuddyAllocator<Virt>) throws(ThreadStackError) -> Stacks {
  try Stacks(
    StackConfiguration(.vmalloc, size: 20 << 10), machine: Virt(), frames: frames,
    arena: VmallocArea(0xffff_ff80_0800_0000..<0xffff_ffbc_0000_0000, machine: Virt()))
}
