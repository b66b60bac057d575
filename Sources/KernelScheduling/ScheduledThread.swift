// The scheduler's part of a thread: every thread record contains it.

import KernelMachine
import Synchronization

/// The state of a thread in its scheduler.
public enum ThreadState: UInt8, Equatable, Sendable {
  /// Made, and not yet given to a scheduler.
  case created
  /// In a CPU's queue; its context is saved.
  case ready
  /// A CPU runs it, or is switching to it or away from it.
  case running
  /// Waits for the frames that its stack may need, in the queue of threads that wait for a refill.
  case waitingForRefill
  /// Sleeps until it is woken; its context is saved.
  case waiting
  /// Sleeps, waits or is ready, and belongs to the CPU that shrinks it: no other touches its stack or its links.
  case claimed
  /// Never runs again.
  case dead
}

/// A running thread's request for the next switch.
public enum SwitchRequest: UInt8, Equatable, Sendable {
  /// It can continue.
  case stay
  /// It waits for a wake-up.
  case wait
  /// It ends.
  case exit
}

/// The part of a thread's record that the scheduler works with.
///
/// It lies inside the record of a thread, at a fixed address, from which a kernel finds its own part. 56 bytes.
///
///     +0   stack base            what exception entry reads first
///     +8   saved stack pointer
///     +16  floor
///     +24  next, previous        in the list that holds it
///     +40  number
///     +48  CPU                   whose lock guards the rest
///     +52  state, request, wake-up, list
///     +56  (end)
public struct ScheduledThread {
  /// The base of its stack.
  public var stackBase: VirtualAddress
  /// Its stack pointer, valid while it does not run.
  ///
  /// The machine stores it before it calls ``ThreadScheduler/next(after:stacks:switching:)``, when the context is saved
  /// completely.
  public var savedStackPointer: VirtualAddress
  /// The lowest address from which its stack keeps its pages while it sleeps, if it is below the stack pointer.
  ///
  /// Only the thread itself changes it. ``noFloor`` protects nothing.
  public var floor: VirtualAddress
  var next: ScheduledThreadPointer?
  var previous: ScheduledThreadPointer?
  /// Its number, for reports.
  public var id: Int
  var cpuNumber: Int32
  var currentState: ThreadState
  /// Its request for the next switch; the thread itself writes it, with interrupts off.
  public var request: SwitchRequest
  /// Whether a wake-up came while it did not sleep; its next wait then returns at once.
  var isWakePending: Bool
  /// Whether its dead pages have been taken since it left a CPU; a sleeper is then in the list `shrunk`.
  var isShrunk: Bool

  /// Makes the record of a thread in state ``ThreadState/created``, not yet given to a scheduler.
  ///
  /// - Parameters:
  ///   - id: its number, for reports.
  ///   - stackBase: the base of its stack.
  ///   - stackPointer: its first stack pointer.
  public init(id: Int, stackBase: VirtualAddress, stackPointer: VirtualAddress) {
    self.stackBase = stackBase
    savedStackPointer = stackPointer
    floor = Self.noFloor
    next = nil
    previous = nil
    self.id = id
    cpuNumber = 0
    currentState = .created
    request = .stay
    isWakePending = false
    isShrunk = false
  }

  /// A floor that protects nothing.
  public static var noFloor: VirtualAddress { VirtualAddress(UInt.max) }

  /// Its state, which may change at any time.
  public var state: ThreadState { currentState }

  /// The CPU that runs it, or ran it last.
  public var cpu: Int { Int(cpuNumber) }

  /// The lower of stack pointer and floor: all pages wholly below it are dead while the thread sleeps.
  public var lowestLiveAddress: VirtualAddress { min(savedStackPointer, floor) }
}

extension UnsafeMutablePointer where Pointee == ScheduledThread {
  // Why the cast is sound: (1) the field lies at byte 48, aligned, which a test looks at; (2) an Atomic<Int32> is stored as an
  // Int32; (3) the record is initialized.
  @inline(__always) var cpuWord: UnsafeMutablePointer<Atomic<Int32>> {
    (UnsafeMutableRawPointer(self) + 48).assumingMemoryBound(to: Atomic<Int32>.self)
  }

  /// The CPU whose lock guards the thread.
  ///
  /// It changes under the lock of the CPU that it names. Code that looks for that lock reads it without one.
  var cpuNumber: Int32 {
    @inline(__always) get { cpuWord.pointee.load(ordering: .relaxed) }
    @inline(__always) nonmutating set { cpuWord.pointee.store(newValue, ordering: .relaxed) }
  }

  /// The same number, read by a load-acquire: later reads of the thread are not older.
  var acquiredCPUNumber: Int32 {
    @inline(__always) get { cpuWord.pointee.load(ordering: .acquiring) }
  }
}

/// A thread, by the address of its ``ScheduledThread``.
public typealias ScheduledThreadPointer = UnsafeMutablePointer<ScheduledThread>
