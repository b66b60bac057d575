// The interface between a program and the kernel: system calls, their arguments and results.
//
//   number in x8, arguments in x0 and x1, results in x0 and x1 (`svc #0`)
//
//   | call          | x0 in        | x1 in  | x0 out                              | x1 out      |
//   |---------------|--------------|--------|-------------------------------------|-------------|
//   | write         | address      | length | bytes written, or < 0               |             |
//   | fork          |              |        | 0 in the child, else pid or < 0     |             |
//   | exit          | status       |        | (does not return)                   |             |
//   | wait          |              |        | pid (waits for one), or < 0: none   | see below   |
//   | processID     |              |        | pid                                 |             |
//   | proveStack    |              |        | 1 if all of the stack held, else 0  |             |
//   | hold          |              |        | 0, once released                    |             |
//   | awaitChild    | pid          |        | ChildState (waits while it runs)    |             |
//   | release       | pid, 0: all  |        | how many were holding               |             |
//   | note          | Note         | value  | 0                                   |             |
//   | overflowStack |              |        | (the kernel side runs into the guard)             |
//
// `wait` also gives, in x1, the status, and in x2 the EndOfProcess.

/// The number of a system call, in x8.
public enum SystemCallNumber: UInt64, Sendable {
  /// Writes bytes to the console.
  case write = 1
  /// Forks the process.
  case fork = 2
  /// Ends the process.
  case exit = 3
  /// Waits for a child to end, and reaps it.
  case wait = 4
  /// Returns the process's own number.
  case processID = 5
  /// Has the kernel fill and verify the whole usable part of the process's kernel stack.
  case proveStack = 6
  /// Blocks until the parent releases the process.
  case hold = 7
  /// Waits until a child holds or is dead.
  case awaitChild = 8
  /// Releases holding children.
  case release = 9
  /// Passes a figure to the kernel.
  case note = 10
  /// Has the kernel recurse until it overflows the process's kernel stack.
  case overflowStack = 11
}

/// The state of a child, as `awaitChild` returns it.
public enum ChildState: Int, Sendable {
  /// There is no such child.
  case none = 0
  /// It holds until it is released.
  case holding = 1
  /// It has ended, and its parent has not reaped it.
  case dead = 2
  /// It runs; `awaitChild` does not return this.
  case running = 3
}

/// The way in which a process ended.
public enum EndOfProcess: UInt8, Sendable {
  /// It called `exit`.
  case exited = 0
  /// It accessed memory that it has no right to.
  case accessViolation = 1
  /// A page that it wrote to could not be copied for lack of a frame.
  case outOfMemory = 2
  /// Its kernel stack overflowed into the guard.
  case stackOverflow = 3
  /// It executed an undefined instruction or an unknown system call.
  case illegalInstruction = 4
}

/// The result of a `fork` that failed.
public enum ForkFailure: Int, Sendable {
  /// No memory, or no room for another process.
  case noMemory = -12
}
