// What the kernel keeps of one task, and where each part of it lies.
//
//   offset   0  the machine's own: registers of a task that does not run (352 bytes; assembly may rely on the 0)
//          352  address space, numbers, state, family, stack
//        ≤ 488  end of the record; records follow each other at intervals of 512 bytes (see RecordPool)

import KernelStacks
import SystemCallInterface

/// Where a task stands.
public enum TaskState: UInt8, Sendable {
  /// Made by fork, its registers not yet filled in.
  case created
  /// Runs or could run, or waits for a child.
  case runnable
  /// Waits until its parent releases it.
  case holding
  /// Its address space is gone; it still runs on its kernel stack.
  case exiting
  /// It does not run any more; its parent has not taken its status yet.
  case zombie
}

/// A task: a process with its kernel stack, or a kernel thread.
public struct TaskRecord: ~Copyable {
  /// Room for the machine's own, at offset 0 of the record: 352 bytes.
  public var context = InlineArray<44, UInt64>(repeating: 0)
  /// Where the record lies.
  public internal(set) var physicalAddress = PhysicalAddress(0)
  /// The root table of its address space (TTBR0_EL1); 0 when it has none.
  public internal(set) var addressSpaceRoot = PhysicalAddress(0)
  /// Names the address space in TLBs; 0 until a CPU walks it.
  var addressSpaceTag: UInt64 = 0
  /// The process's number.
  public internal(set) var processID: UInt16 = 0
  /// Where it stands.
  public var state = TaskState.created
  /// How it ended.
  public internal(set) var end = EndOfProcess.exited
  /// How many children have not been reaped.
  public internal(set) var childCount: Int32 = 0
  /// What it keeps in the one register that is its own besides those of its context (TPIDR_EL0); valid while it does not run.
  public var threadPointer: UInt64 = 0
  /// What it gave to `exit`.
  public internal(set) var exitStatus = 0
  /// The process that forked it.
  public internal(set) var parent: TaskPointer?
  /// Its children: the dead ones first.
  public internal(set) var firstChild: TaskPointer?
  /// The parent's next child.
  public internal(set) var nextSibling: TaskPointer?
  /// The parent's previous child.
  public internal(set) var previousSibling: TaskPointer?
  /// What it has taken for itself; given back when it ends.
  public var registry = TaskRegistry()
  /// The kernel stack; `nil` once it has been freed.
  public var stack: ThreadStack?

  init() {}
}

/// A task record in its place, where it stays until it is reaped.
public typealias TaskPointer = UnsafeMutablePointer<TaskRecord>

extension TaskRecord: PooledRecord {
  static var stride: Int { 512 }
  static var countPerFrame: Int { 8 }
}
