// Takes a page frame and gives it back.

import Board
import KernelStacks
import Machine

@main struct Kernel { static func main() {} }

/// Where the boot code arrives.
@c func kernel_main() {
  guard let ram = BoardMemory() else { fail("RAM was refused") }
  let frames = ram.frames()
  let before = frames.freeFrames
  do {
    let frame = try frames.allocate(FrameRequest(purpose: .metadata))
    try frames.free(frame, order: 0)
  } catch {
    fail("a page frame was refused")
  }
  guard frames.freeFrames == before else { fail("a page frame was lost") }
  print("a page frame was taken and given back\n")
  board_exit(0)
}
