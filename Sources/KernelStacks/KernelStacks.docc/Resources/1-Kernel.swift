// Says that it runs.

import Board

@main struct Kernel { static func main() {} }

/// Where the boot code arrives.
@c func kernel_main() {
  print("the kernel runs\n")
  board_exit(0)
}
