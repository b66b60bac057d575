// The accounts of stack groups: page frames are charged to a group in advance to a CPU, then frame by frame without a word that
// CPUs share.
//
//     group's account, under the lock              each CPU's own line
//     +--------------------------+    batch       +-----------+
//     | limit                    | -------------> | credit    | -----> stacks handed out here, growth here
//     | taken = charged + credit | <------------- |           | <----- stacks freed here, pages shrunk here
//     +--------------------------+    surplus     +-----------+
//
//     charged = taken - the credit of all CPUs        always, to the frame
//
// A stack is charged from its CPU's credit. When that is too small, the lock is taken: what is left of the
// limit gives a new batch; at the limit's end the credit of all CPUs is taken back, so that nothing is refused
// that the group could have.
//
// Growth cannot be refused, and takes no lock: it is charged to the CPU's credit even below zero. Such a debt
// is settled whenever the lock is taken for the group, before anything is given in advance. A group may thus
// exceed its limit by what its stacks grow, and meanwhile by the credit that other CPUs still have, at most two
// batches each.
//
// Who may touch it, and when: accounts belong to the holder of the allocator's lock, on any CPU: what uses them takes a LockHeld.
// Credit is an atomic word: only its own CPU adds to it, or takes from it without the lock, with interrupts off (InterruptsOff);
// the holder of the lock takes any CPU's credit, all at once.

import KernelMachine
import Synchronization

/// One group's account.
struct GroupAccount: ~Copyable {
  /// How many frames it may have; -1: there is no such group.
  fileprivate var limit: Int
  /// Frames charged, and those that CPUs have been given in advance.
  fileprivate var taken = 0
  fileprivate var refusals = 0
  /// 1 while `taken` is above the limit: what comes free then is no CPU's credit.
  ///
  /// It is read without the lock.
  fileprivate let isBeyond: Atomic<Int>

  fileprivate init(limit: Int = -1) {
    self.limit = limit
    isBeyond = Atomic(0)
  }
  static var bytes: Int { 32 }

  /// Brings `isBeyond` up to date, after `taken` or `limit` has changed.
  fileprivate func noteBeyond() {
    let value = taken > limit ? 1 : 0
    if isBeyond.load(ordering: .relaxed) != value { isBeyond.store(value, ordering: .relaxed) }
  }
}

/// What became of a charge that needed the lock.
enum GroupCharge {
  case charged
  case unknownGroup
  /// The frames that were charged by then, and the limit.
  case beyondLimit(charged: Int, limit: Int)
}

/// The accounts of all groups and the credits of all CPUs: a view of the allocator's memory.
struct GroupAccounts {
  private let control: UnsafeMutablePointer<StackControl>

  @inline(__always) init(_ control: UnsafeMutablePointer<StackControl>) { self.control = control }

  /// How many frames a CPU is given in advance, and keeps when it has more than twice as many.
  static var batch: Int { 32 }

  // MARK: Without the lock

  /// A CPU's credit for a group, in frames; a look from outside.
  func credit(ofCPU cpu: Int, group: Int) -> Int {
    creditWord(ofCPU: cpu, group: group).pointee.load(ordering: .relaxed)
  }

  /// Charges frames to a group if the CPU has credit for them.
  @inline(__always) func chargeFromCredit(
    _ frames: Int, to group: Int, cpu: Int, _ off: borrowing InterruptsOff
  ) -> Bool {
    let credit = creditWord(ofCPU: cpu, group: group)
    var there = credit.pointee.load(ordering: .relaxed)
    while there >= frames {
      let result = credit.pointee.weakCompareExchange(
        expected: there, desired: there &- frames, ordering: .relaxed)
      if result.exchanged { return true }
      there = result.original
    }
    return false
  }

  /// Charges pages that a stack has grown by, whatever the limit is.
  @inline(never) func chargeGrowth(_ frames: Int, to group: Int, cpu: Int, _ off: borrowing InterruptsOff) {
    creditWord(ofCPU: cpu, group: group).pointee.wrappingSubtract(frames, ordering: .relaxed)
  }

  /// Takes frames off a group's charge.
  ///
  /// - Returns: whether the CPU has more credit now than it may keep, so that ``returnCredit(of:cpu:_:)`` has to follow.
  @inline(__always) func uncharge(
    _ frames: Int, from group: Int, cpu: Int, _ off: borrowing InterruptsOff
  ) -> Bool {
    let credit = creditWord(ofCPU: cpu, group: group)
    let there = credit.pointee.wrappingAdd(frames, ordering: .relaxed).newValue
    return there > 2 &* Self.batch || account(group).pointee.isBeyond.load(ordering: .relaxed) != 0
  }

  // MARK: Under the lock

  /// Opens an account; `nil` if there are as many as there can be.
  func open(limit: Int, _ held: borrowing LockHeld) -> Int? {
    let count = control.pointee.layout.stackGroupCount
    var index = 0
    while index < count, account(index).pointee.limit >= 0 { index &+= 1 }
    guard index < count else { return nil }
    account(index).initialize(to: GroupAccount(limit: limit))
    return index
  }

  /// Closes an account that nothing is charged to.
  ///
  /// - Returns: how many frames are charged: above 0, the account stays; `nil` if there is none.
  func close(_ group: Int, _ held: borrowing LockHeld) -> Int? {
    guard exists(group, held) else { return nil }
    takeCreditBack(group, held)
    let charged = account(group).pointee.taken
    if charged == 0 { account(group).pointee.limit = -1 }
    return charged
  }

  /// Changes a limit, and tells whether there is such an account.
  func setLimit(of group: Int, to limit: Int, _ held: borrowing LockHeld) -> Bool {
    guard exists(group, held) else { return false }
    // What CPUs have in advance was within the old limit.
    takeCreditBack(group, held)
    account(group).pointee.limit = limit
    account(group).pointee.noteBeyond()
    return true
  }

  /// What is charged; `nil` if there is no such account.
  func figures(of group: Int, _ held: borrowing LockHeld) -> StackGroupFigures? {
    guard exists(group, held) else { return nil }
    let account = account(group)
    return StackGroupFigures(
      chargedFrames: chargedFrames(group), limitFrames: account.pointee.limit,
      refusals: account.pointee.refusals)
  }

  /// Charges frames to a group whose CPU has too little credit, and gives that CPU a new batch if the limit has so many left.
  func charge(_ frames: Int, to group: Int, cpu: Int, _ held: borrowing LockHeld) -> GroupCharge {
    guard exists(group, held) else { return .unknownGroup }
    let account = account(group)
    let credit = creditWord(ofCPU: cpu, group: group)
    account.pointee.taken &-= credit.pointee.exchange(0, ordering: .relaxed)
    settleDebts(group, held)
    // Compared as a rest: a limit may be as large as any number.
    if account.pointee.limit &- account.pointee.taken >= frames &+ Self.batch {
      account.pointee.taken &+= frames &+ Self.batch
      credit.pointee.wrappingAdd(Self.batch, ordering: .relaxed)
      return .charged
    }
    takeCreditBack(group, held)
    let charged = account.pointee.taken
    let limit = account.pointee.limit
    let isWithin = limit &- charged >= frames
    if isWithin {
      account.pointee.taken = charged &+ frames
    } else {
      account.pointee.refusals &+= 1
    }
    account.pointee.noteBeyond()
    return isWithin ? .charged : .beyondLimit(charged: charged, limit: limit)
  }

  /// Gives back what a CPU has beyond a batch, or beyond the limit.
  func returnCredit(of group: Int, cpu: Int, _ held: borrowing LockHeld) {
    let account = account(group)
    let credit = creditWord(ofCPU: cpu, group: group)
    // Another CPU may have taken some of it meanwhile.
    let there = credit.pointee.exchange(0, ordering: .relaxed)
    account.pointee.taken &-= there
    settleDebts(group, held)
    let rest = account.pointee.limit &- account.pointee.taken
    let kept = max(0, min(min(there, Self.batch), rest))
    account.pointee.taken &+= kept
    credit.pointee.wrappingAdd(kept, ordering: .relaxed)
    account.pointee.noteBeyond()
  }

  /// Takes back what all CPUs have in advance for a group; `taken` is what is charged then.
  private func takeCreditBack(_ group: Int, _ held: borrowing LockHeld) {
    for cpu in 0..<control.pointee.layout.cpuCount {
      account(group).pointee.taken &-=
        creditWord(ofCPU: cpu, group: group).pointee.exchange(0, ordering: .relaxed)
    }
  }

  /// Charges what has grown on CPUs beyond their credit: what is in use is given to nobody in advance.
  private func settleDebts(_ group: Int, _ held: borrowing LockHeld) {
    for cpu in 0..<control.pointee.layout.cpuCount {
      let credit = creditWord(ofCPU: cpu, group: group)
      if credit.pointee.load(ordering: .relaxed) < 0 {
        account(group).pointee.taken &-= credit.pointee.exchange(0, ordering: .relaxed)
      }
    }
  }

  /// Whether there is such an account.
  private func exists(_ group: Int, _ held: borrowing LockHeld) -> Bool {
    UInt(bitPattern: group) < UInt(bitPattern: control.pointee.layout.stackGroupCount)
      && account(group).pointee.limit >= 0
  }

  /// What is charged to a group, to the frame, while no CPU charges or frees.
  private func chargedFrames(_ group: Int) -> Int {
    var charged = account(group).pointee.taken
    for cpu in 0..<control.pointee.layout.cpuCount {
      charged &-= credit(ofCPU: cpu, group: group)
    }
    return charged
  }

  // MARK: The memory

  /// Makes accounts of no groups of memory that nobody uses yet.
  func initialize() {
    for group in 0..<control.pointee.layout.stackGroupCount {
      account(group).initialize(to: GroupAccount())
      for cpu in 0..<control.pointee.layout.cpuCount {
        creditWord(ofCPU: cpu, group: group).initialize(to: Atomic(0))
      }
    }
  }

  @inline(__always) private func account(_ group: Int) -> UnsafeMutablePointer<GroupAccount> {
    (UnsafeMutableRawPointer(control) + control.pointee.layout.chargeOffset)
      .assumingMemoryBound(to: GroupAccount.self) + group
  }

  @inline(__always) private func creditWord(ofCPU cpu: Int, group: Int) -> UnsafeMutablePointer<Atomic<Int>> {
    (control.pointee.firstCredit + cpu &* control.pointee.layout.creditStride)
      .assumingMemoryBound(to: Atomic<Int>.self) + group
  }
}

#if INTERNAL_CHECKS
  extension GroupAccounts {
    /// Traps if what is charged to a group is not `frames`.
    func check(_ group: Int, frames: Int) {
      precondition(frames == chargedFrames(group), "a group's charge is not what its stacks have")
    }
  }
#endif
