// What a scheduler keeps of a thread: the part that every thread record contains.

import KernelMachine
import Synchronization

/// Where a thread stands.
@frozen public enum ThreadState: UInt8, Equatable, Sendable {
  /// Made, and never given to a scheduler yet.
  case created
  /// In a CPU's queue; its context is saved.
  case ready
  /// A CPU runs it, or is switching to it or away from it.
  case running
  /// Could run, but for the frames that its stack may need: in the queue of those that wait for a refill.
  case waitingForRefill
  /// Sleeps until somebody wakes it; its context is saved.
  case waiting
  /// Sleeps, waits or is ready, and is being shrunk: nobody else touches its stack or its links.
  case claimed
  /// Never runs again.
  case dead
}

/// What a running thread wants to become at the next switch.
@frozen public enum SwitchRequest: UInt8, Equatable, Sendable {
  /// It can go on.
  case stay
  /// It waits for a wake-up.
  case wait
  /// It ends.
  case exit
}

/// The part of a thread's record that the scheduler works with.
///
/// It lies inside the record of a thread, at an address that stays; a kernel finds its own part from there.
///
///     +0   stack base            what exception entry reads first
///     +8   saved stack pointer
///     +16  floor
///     +24  next, previous        in whichever list it is
///     +40  number
///     +48  CPU                   whose lock guards the rest
///     +52  state, request, wake-up, list
///     +56  (end)
@frozen public struct ScheduledThread {
  /// The base of its stack.
  public var stackBase: VirtualAddress
  /// Its stack pointer, valid while it does not run.
  ///
  /// The machine fills it in before it calls ``ThreadScheduler/next(after:stacks:switching:)``: by then its context is
  /// completely saved.
  public var savedStackPointer: VirtualAddress
  /// Nothing at or above this address is taken from its stack while it sleeps, besides what its stack pointer protects.
  ///
  /// Only the thread itself changes it. ``noFloor`` protects nothing.
  public var floor: VirtualAddress
  @usableFromInline var next: ScheduledThreadPointer?
  @usableFromInline var previous: ScheduledThreadPointer?
  /// Its number, for reports.
  public var id: Int
  @usableFromInline var cpuNumber: Int32
  @usableFromInline var currentState: ThreadState
  /// What it wants at the next switch; written by the thread itself, with interrupts off.
  public var request: SwitchRequest
  /// Whether a wake-up came while it did not sleep: its next wait returns at once.
  @usableFromInline var isWakePending: Bool
  /// Whether its dead pages have been taken since it left a CPU: if it sleeps, it is among those that have nothing left.
  @usableFromInline var isShrunk: Bool

  /// A thread that has not been given to a scheduler.
  ///
  /// - Parameters:
  ///   - id: its number, for reports.
  ///   - stackBase: the base of its stack.
  ///   - stackPointer: where it begins.
  @inlinable public init(id: Int, stackBase: VirtualAddress, stackPointer: VirtualAddress) {
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
  @inlinable public static var noFloor: VirtualAddress { VirtualAddress(UInt.max) }

  /// Where it stands.
  ///
  /// A look from outside: it may change at any time.
  @inlinable public var state: ThreadState { currentState }

  /// The CPU that runs it, or ran it last.
  @inlinable public var cpu: Int { Int(cpuNumber) }

  /// The lowest address that sleeping has to keep: all pages wholly below it are dead.
  @inlinable public var lowestLiveAddress: VirtualAddress { min(savedStackPointer, floor) }
}

extension UnsafeMutablePointer where Pointee == ScheduledThread {
  // Why the cast is sound: (1) the field lies at byte 48, aligned, which a test looks at; (2) an Atomic<Int32> is stored as an
  // Int32; (3) the record is initialized.
  @inlinable @inline(__always) var cpuWord: UnsafeMutablePointer<Atomic<Int32>> {
    (UnsafeMutableRawPointer(self) + 48).assumingMemoryBound(to: Atomic<Int32>.self)
  }

  /// The CPU whose lock guards the thread.
  ///
  /// It changes under the lock of the CPU that it names, and is read without one by those who look for that lock.
  @inlinable var cpuNumber: Int32 {
    @inline(__always) get { cpuWord.pointee.load(ordering: .relaxed) }
    @inline(__always) nonmutating set { cpuWord.pointee.store(newValue, ordering: .relaxed) }
  }

  /// The same, read by a load-acquire: what is read of the thread afterwards is not older.
  @inlinable var acquiredCPUNumber: Int32 {
    @inline(__always) get { cpuWord.pointee.load(ordering: .acquiring) }
  }
}

/// A thread, by the place of its ``ScheduledThread``.
public typealias ScheduledThreadPointer = UnsafeMutablePointer<ScheduledThread>
