// The number of instructions of an invalidation, and the pages that they name.

import KernelMachine
import Testing

@Suite struct InvalidationPlanTests {
  private func plan(
    _ lower: UInt, _ upper: UInt, _ scope: InvalidationScope, in space: AddressSpaceID = .kernel
  ) -> InvalidationPlan {
    InvalidationPlan(VirtualAddressRange(VirtualAddress(lower), VirtualAddress(upper)), in: space, scope: scope)
  }

  @Test(arguments: [InvalidationScope.leaves, .tablesAndLeaves]) func `Each page is named`(
    scope: InvalidationScope
  ) {
    let base: UInt = 0xffff_ff80_0820_3000
    for count in [1, 2, 511, 512] as [UInt] {
      let plan = plan(base, base + count * 4096, scope)
      #expect(plan.instructionCount == Int(count) && plan.operandStep == 1 && !plan.dropsEverything)
      #expect(plan.firstPage.rawValue == base)
    }
    #expect(plan(base, base + 513 * 4096, scope).dropsEverything)
    #expect(plan(base, base, scope).instructionCount == 0)
  }

  @Test func `One address is named for each table that the range touches`() {
    let table: UInt = 2 << 20
    let base: UInt = 0xffff_ff80_0820_0000
    for (lower, upper, count) in [
      (base, base + 4096, 1), (base + 4096, base + table, 1), (base, base + table + 4096, 2),
      (base + table - 4096, base + table + 4096, 2), (base + 4096, base + 3 * table - 4096, 3),
      (base, base + 512 * table, 512),
    ] {
      let plan = plan(lower, upper, .tables)
      #expect(plan.instructionCount == count && plan.operandStep == 512 && !plan.dropsEverything)
      #expect(plan.firstPage.rawValue == base || lower >= base + table - 4096)
      let last = plan.firstPage.rawValue + UInt(count - 1) * table
      #expect(last < upper && upper - last <= table, "the last one lies in the last table")
    }
    #expect(plan(base, base + 513 * table, .tables).dropsEverything)
  }

  @Test func `Everything is one instruction`() {
    for scope in [InvalidationScope.leaves, .tablesAndLeaves, .tables] {
      for space in [.kernel, AddressSpaceID(7)] {
        let plan = InvalidationPlan(.everything, in: space, scope: scope)
        #expect(plan.dropsEverything && plan.instructionCount == 1)
      }
    }
  }

  @Test func `The kernel's entries are dropped whatever ASID they bear, a process's by its own`() {
    let user = AddressSpaceID(7)
    for (scope, kernel, process) in [
      (.leaves, .vaale1is, .vale1is), (.tablesAndLeaves, .vaae1is, .vae1is), (.tables, .vaae1is, .vae1is),
    ] as [(InvalidationScope, TLBInstruction, TLBInstruction)] {
      #expect(plan(0x40_0000, 0x40_2000, scope).instruction == kernel)
      #expect(InvalidationPlan(.everything, in: .kernel, scope: scope).instruction == .vmalle1is)
      let named = plan(0x40_0000, 0x40_2000, scope, in: user)
      #expect(named.instruction == process && named.operand == 7 << 48 | 0x400)
      let all = InvalidationPlan(.everything, in: user, scope: scope)
      #expect(all.instruction == .aside1is && all.operand == 7 << 48)
    }
  }
}
