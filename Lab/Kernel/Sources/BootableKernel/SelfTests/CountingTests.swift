// A self-test of the instruction counter, on which all instruction counts rest.
import AArch64Machine
import CAArch64
import KernelStacks
import Scenarios
import Synchronization

/// Counts a known number of instructions where the compiler keeps more and fewer values in registers.
func testInstructionCounts() -> Bool {
  let machine = AArch64()
  let state = ca_disable_interrupts()
  _ = counted(machine) {}
  let empty = counted(machine) {}
  let alone = counted(machine, twentyBarriers)
  let twice = counted(machine) {
    twentyBarriers()
    twentyBarriers()
  }
  // The loop keeps values across the readings in registers, which the readings must not disturb.
  var least = Int.max
  var most = 0
  var sum: UInt64 = 0
  for round in 0..<64 {
    let before = rounds.load(ordering: .acquiring)
    let count = counted(machine, twentyBarriers)
    least = min(least, count)
    most = max(most, count)
    sum &+= before &* UInt64(round)
    rounds.store(before &+ 1, ordering: .releasing)
  }
  ca_restore_interrupts(state)
  var passed = check("readings cost the same wherever they are", least == most && least == alone)
  passed = check("twenty instructions count as twenty", alone - empty == 20 && twice - empty == 40) && passed
  // The squares of 0 to 63.
  return check("what was in registers is still there", sum == 85_344) && passed
}

private let rounds = Atomic<UInt64>(0)

@inline(__always) private func fiveBarriers() {
  ca_isb()
  ca_isb()
  ca_isb()
  ca_isb()
  ca_isb()
}

@inline(__always) private func twentyBarriers() {
  fiveBarriers()
  fiveBarriers()
  fiveBarriers()
  fiveBarriers()
}

@inline(__always) private func counted(_ machine: AArch64, _ body: () -> Void) -> Int {
  let start = retiredInstructions(machine)
  body()
  let end = retiredInstructions(machine)
  return Int(end &- start)
}
