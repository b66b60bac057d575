// Charging page frames to groups: in advance to a CPU, then frame by frame without a word that CPUs share.
//
//     group record, under the lock                 each CPU's own line
//     +--------------------------+    batch       +-----------+
//     | limit                    | -------------> | credit    | -----> stacks handed out here, growth here
//     | taken = charged + credit | <------------- |           | <----- stacks freed here, pages shrunk here
//     +--------------------------+    surplus     +-----------+
//
//     charged = taken - the credit of all CPUs        always, to the frame
//
// A stack is charged from its CPU's credit. When that is too small, the lock is taken: what is left of the
// limit gives a new batch; at the limit's end the credit of all CPUs is taken back, so that nothing is refused
// that the group could have. So credit is an atomic word; but only its own CPU ever adds to it, or takes
// without the lock.
//
// Growth cannot be refused, and takes no lock: it is charged to the CPU's credit even below zero. Such a debt
// is settled whenever the lock is taken for the group, before anything is given in advance. A group may thus
// exceed its limit by what its stacks grow, and meanwhile by the credit that other CPUs still have, at most two
// batches each.

import KernelMachine
import Synchronization

extension StackControl {
  /// A CPU's credit for a group, in frames.
  @inline(__always) func credit(ofCPU cpu: Int, group: Int) -> UnsafeMutablePointer<Atomic<Int>> {
    (firstCredit + cpu &* layout.creditStride).assumingMemoryBound(to: Atomic<Int>.self) + group
  }

  /// How many frames a CPU is given in advance, and keeps when it has more than twice as many.
  static var chargeBatch: Int { 32 }

  /// Charges frames to a group if the CPU has credit for them.
  @inline(__always) func chargeFromCredit(
    _ frames: Int, group: Int, cpu: Int, _ off: borrowing InterruptsOff
  ) -> Bool {
    let credit = credit(ofCPU: cpu, group: group)
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
  @inline(never) func chargeGrowth(_ frames: Int, group: Int, cpu: Int, _ off: borrowing InterruptsOff) {
    credit(ofCPU: cpu, group: group).pointee.wrappingSubtract(frames, ordering: .relaxed)
  }
}
