// Programs that write to the console.

import SystemCallInterface

/// Writes a line that names its writer.
func writeLine<Kernel: SystemCalls>(on kernel: Kernel) -> FailedCheck? {
  kernel.write("a line from the first process, which has no privileges but its system calls\n")
  return nil
}

/// A child that writes the same lines over and over: one line, then several in one call.
struct WritingChild: ChildProgram {
  let rounds: Int

  func prove<Kernel: SystemCalls>(on kernel: Kernel) -> Bool {
    for _ in 0..<rounds {
      kernel.write(
        "a line that is long enough for others to come in between if the kernel lets them do so: nothing but this line\n"
      )
      kernel.write(
        """
        the first of several lines that are written at once, more than a kernel takes at a time
        the second of several lines that are written at once, more than a kernel takes at a time
        the third of several lines that are written at once, more than a kernel takes at a time
        the fourth of several lines that are written at once, more than a kernel takes at a time

        """)
    }
    return true
  }

  func finish<Kernel: SystemCalls>(on kernel: Kernel) -> Int { kernel.processID() }
}

/// Forks children that write lines at the same time; the reader of the console checks that all lines are whole.
func writeLines<Kernel: SystemCalls>(rounds: Int, on kernel: Kernel) -> FailedCheck? {
  let count = 4
  var children = InlineArray<4, Int>(repeating: 0)
  for index in 0..<count {
    children[index] = kernel.fork(WritingChild(rounds: rounds))
    guard children[index] > 0 else { return .forkFailed }
  }
  for index in 0..<count where kernel.awaitChild(children[index]) != .holding { return .childDidNotHold }
  kernel.release(0)
  var ended = 0
  while let child = kernel.wait() {
    guard child.end == .exited, child.status == child.processID else { return .wrongStatus }
    ended += 1
  }
  return ended == count ? nil : .wrongChildCount
}
