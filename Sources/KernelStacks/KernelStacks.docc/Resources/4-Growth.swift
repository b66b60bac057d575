// A thread whose stack begins with one page and grows under it.

import Board
import KernelStacks
import Machine

/// Which thread runs, as far as its stack is concerned; a kernel has it in the thread's record.
nonisolated(unsafe) private var running: (grower: StackGrower<Virt>, base: VirtualAddress)?

/// Runs a thread that needs all of its stack, and says how many pages the stack had before and has after.
func growAStack(from stacks: borrowing Stacks) throws(ThreadStackError) {
  let stack = try stacks.allocate(node: nil)
  let before = stacks.mappedPageCount(stack.base)

  // The reserve gets a frame for each page that the stack lacks: from here on no fault can find it empty.
  guard stacks.prepareToRun(stack.base) else { fail("memory is short: this thread would have to wait") }
  running = (stacks.grower, stack.base)
  board_run_on(UInt64(stack.usableRange.top.rawValue), threadMain)
  running = nil

  print("growing: ")
  board_put(0x30 + UInt8(truncatingIfNeeded: before))
  print(" page at first, ")
  board_put(0x30 + UInt8(truncatingIfNeeded: stacks.mappedPageCount(stack.base)))
  print(" when the thread had ended\n")
  stacks.free(stack)
}

/// The thread: calls itself until nearly all of 16 KiB is used.
@c func threadMain() {
  if descend(14) != 15 { fail("what a frame held was lost") }
}

/// A frame of more than 1 KiB that is written before the call and read after it.
@inline(never) private func descend(_ depth: Int) -> Int {
  var words = InlineArray<128, Int>(repeating: depth)
  withUnsafeMutablePointer(to: &words) { board_keep($0) }
  let frames = depth == 0 ? 1 : descend(depth - 1) + 1
  withUnsafeMutablePointer(to: &words) { board_keep($0) }
  for index in 0..<128 where words[index] != depth { return 0 }
  return frames
}

/// A fault of the thread, on the exception stack; the access is repeated when this returns.
@c func kernel_fault(_ address: UInt64, _ syndrome: UInt64) {
  let isTranslationFault = syndrome >> 26 == 0x25 && syndrome & 0x3c == 0x04
  guard isTranslationFault, let running,
    running.grower.grow(at: VirtualAddress(UInt(address)), runningOn: running.base) == .grown
  else { fail("a fault that no growing stack explains") }
}
