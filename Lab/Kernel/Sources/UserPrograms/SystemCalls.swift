// What a program asks of the kernel it runs on, so that the same source runs at EL0 and in a simulation.

import SystemCallInterface

/// What a forked child does: a value that is copied into the child, with all that the child has to know.
///
/// The child runs ``prove(on:)``, holds until its parent releases it, runs ``finish(on:)``, and exits with the status
/// that this returns. If ``prove(on:)`` returns `false` it exits at once with status ``failedProof``.
///
/// In a simulation the two parts run as calls on the host, each in the child's address space; hence a value instead of a
/// closure that goes on after `fork`.
public protocol ChildProgram: Sendable {
  /// The part before the child holds. `false` means that something was not as it should be.
  func prove<Kernel: SystemCalls>(on kernel: Kernel) -> Bool

  /// The part after the child was released; gives the exit status.
  func finish<Kernel: SystemCalls>(on kernel: Kernel) -> Int
}

/// The exit status of a child whose ``ChildProgram/prove(on:)`` returned `false`.
public var failedProof: Int { -1 }

/// The kernel, as a program sees it.
///
/// A handle, cheap to copy.
public protocol SystemCalls {
  /// Writes text to the console.
  func write(_ text: StaticString)

  /// The calling process's number.
  func processID() -> Int

  /// Makes a child with a copy of this address space, which runs `child`.
  ///
  /// - Returns: the child's number, or a negative ``ForkFailure``.
  func fork<Child: ChildProgram>(_ child: Child) -> Int

  /// Waits until a child is holding or dead.
  func awaitChild(_ processID: Int) -> ChildState

  /// Lets a holding child go on, or all of them if `processID` is 0; tells how many were holding.
  @discardableResult func release(_ processID: Int) -> Int

  /// Waits for any child to end and takes its status; `nil` when there is no child.
  func wait() -> EndedChild?

  /// Lets the kernel side fill and verify its whole usable stack; tells whether all of it held.
  func proveStack() -> Bool

  /// Lets the kernel side leave its stack: does not return to a process on a kernel with guards.
  func overflowStack()

  /// Tells the kernel a figure.
  func note(_ note: Note, _ value: Int)

  /// The register that belongs to the program alone (TPIDR_EL0): 0 in the first process, the parent's value in a child.
  var threadPointer: UInt64 { get nonmutating set }

  /// Touches one of the things that a process has no right to.
  ///
  /// A list that begins at 0: the counters, the timer, and so on. It does not return where the CPU and the kernel are right.
  ///
  /// - Returns: whether the list is as long.
  func touchForbidden(_ index: Int) -> Bool

  /// Reads memory as the program sees it; `address` is a multiple of 8.
  func load(_ address: UInt) -> UInt64

  /// Writes memory as the program sees it; `address` is a multiple of 8.
  func store(_ value: UInt64, at address: UInt)

  /// The address of a page of the program's data that is used for nothing else.
  var scratchPage: UInt { get }

  /// The address of some kernel memory that is mapped.
  var kernelMemory: UInt { get }
}
