// The kernel's interface for programs, so that the same source runs at EL0 and in a simulation.

import SystemCallInterface

/// The program of a forked child: a value that is copied into the child, with all that the child needs.
///
/// The child runs ``prove(on:)``, holds until its parent releases it, runs ``finish(on:)``, and exits with the status that this
/// returns. If ``prove(on:)`` returns `false`, it exits at once with status ``failedProof``.
///
/// In a simulation the two parts are calls on the host, each in the child's address space: hence a value, and not a closure
/// that goes on after `fork`.
public protocol ChildProgram: Sendable {
  /// Runs before the child holds; returns whether all checks held.
  func prove<Kernel: SystemCalls>(on kernel: Kernel) -> Bool

  /// Runs after the child was released; returns the exit status.
  func finish<Kernel: SystemCalls>(on kernel: Kernel) -> Int
}

/// The exit status of a child whose ``ChildProgram/prove(on:)`` returned `false`.
public var failedProof: Int { -1 }

/// The kernel as a program sees it.
///
/// A handle, cheap to copy.
public protocol SystemCalls {
  /// Writes text to the console.
  func write(_ text: StaticString)

  /// The number of the calling process.
  func processID() -> Int

  /// Makes a child with a copy of this address space, which runs `child`.
  ///
  /// - Returns: the child's number, or a negative ``ForkFailure``.
  func fork<Child: ChildProgram>(_ child: Child) -> Int

  /// Waits until a child holds or is dead.
  func awaitChild(_ processID: Int) -> ChildState

  /// Releases a holding child, or all of them if `processID` is 0; returns how many held.
  @discardableResult func release(_ processID: Int) -> Int

  /// Waits for any child to end, and reaps it; returns `nil` if there is no child.
  func wait() -> EndedChild?

  /// Has the kernel fill and verify the whole usable part of the process's kernel stack; returns whether it held.
  func proveStack() -> Bool

  /// Has the kernel overflow the process's kernel stack; does not return on a kernel with guards.
  func overflowStack()

  /// Passes a figure to the kernel.
  func note(_ note: Note, _ value: Int)

  /// The value of TPIDR_EL0: 0 in the first process, the parent's value in a child.
  var threadPointer: UInt64 { get nonmutating set }

  /// Uses one of the things that a process has no right to, by index from 0: the counters, the timer, and so on.
  ///
  /// Does not return if the index is valid and the CPU and the kernel are right.
  ///
  /// - Returns: whether the index is valid.
  func touchForbidden(_ index: Int) -> Bool

  /// Reads memory through the program's translations; `address` is a multiple of 8.
  func load(_ address: UInt) -> UInt64

  /// Writes memory through the program's translations; `address` is a multiple of 8.
  func store(_ value: UInt64, at address: UInt)

  /// The address of a page of the program's data reserved for tests.
  var scratchPage: UInt { get }

  /// An address of mapped kernel memory.
  var kernelMemory: UInt { get }
}
