// The record of a process: its parts and their offsets.
//
//   offset   0  the machine's own: registers of a task that does not run (352 bytes; assembly may rely on the 0)
//          352  address space, numbers, state, family, stack
//        ≤ 488  end of the record; records follow each other at intervals of 512 bytes (see RecordPool)

import KernelStacks
import SystemCallInterface

/// The state of a process.
public enum TaskState: UInt8, Sendable {
  /// Made, its registers not yet filled in.
  case created
  /// Running or ready, or waiting for a child.
  case runnable
  /// Blocked until its parent releases it.
  case holding
  /// Its address space is gone; it still runs on its kernel stack.
  case exiting
  /// It no longer runs; its parent has not reaped it yet.
  case zombie
}

/// A task that is a process, with its kernel stack; a kernel thread has a ``KernelThread``.
public struct TaskRecord: ~Copyable {
  /// The machine's part, at offset 0 of the record: 352 bytes.
  public var context = InlineArray<44, UInt64>(repeating: 0)
  /// The physical address of the record.
  public internal(set) var physicalAddress = PhysicalAddress(0)
  /// The root table of its address space (TTBR0_EL1), or 0 if it has none.
  public internal(set) var addressSpaceRoot = PhysicalAddress(0)
  /// The tag of its ASID; 0 until a CPU uses the address space.
  var addressSpaceTag: UInt64 = 0
  /// The process number.
  public internal(set) var processID: UInt16 = 0
  /// Its state.
  public var state = TaskState.created
  /// How it ended.
  public internal(set) var end = EndOfProcess.exited
  /// The number of children that have not been reaped.
  public internal(set) var childCount: Int32 = 0
  /// Its value of TPIDR_EL0, the one EL0 register that is not part of a context; valid while it does not run.
  public var threadPointer: UInt64 = 0
  /// The status that it passed to `exit`.
  public internal(set) var exitStatus = 0
  /// The process that forked it, or the first process if that has ended.
  public internal(set) var parent: TaskPointer?
  /// Its first child; the dead ones come first.
  public internal(set) var firstChild: TaskPointer?
  /// The parent's next child.
  public internal(set) var nextSibling: TaskPointer?
  /// The parent's previous child.
  public internal(set) var previousSibling: TaskPointer?
  /// The memory it has taken in its own name, which is given back when it ends.
  public var registry = TaskRegistry()
  /// Its kernel stack, or `nil` once that is freed.
  public var stack: ThreadStack?

  init() {}
}

/// A pointer to a task record, valid until the task is reaped.
public typealias TaskPointer = UnsafeMutablePointer<TaskRecord>

extension TaskRecord: PooledRecord {
  static var stride: Int { 512 }
  static var countPerFrame: Int { 8 }
}
