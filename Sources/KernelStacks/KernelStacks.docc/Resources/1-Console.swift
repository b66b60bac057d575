// Text on the serial console, and the end of a kernel that cannot go on.

import Board

func print(_ text: StaticString) {
  for index in 0..<text.utf8CodeUnitCount { board_put(text.utf8Start[index]) }
}

func fail(_ text: StaticString) -> Never {
  print("failed: ")
  print(text)
  print("\n")
  board_exit(1)
}
