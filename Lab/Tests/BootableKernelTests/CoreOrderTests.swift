// The order of the core's loads and stores between CPUs in the linked kernel: of words read without a lock, or of a CPU
// that has stopped. The litmus tests in verify/litmus prove that these instructions suffice.

import ImageTools
import Testing

@Suite struct CoreOrder {
  @Test(arguments: Guest.CPU.allCases)
  func `A CPU that locks a thread's queue reads the thread's CPU again by a load that orders what follows`(
    cpu: Guest.CPU
  ) async throws {
    let code = try await Code(of: cpu)
    let function = code.function(containing: "ThreadSchedulerV9lockQueue")
    let ends = function.filter { code.words[$0].isReturn }
    try #require(!ends.isEmpty)
    for end in ends {
      let isOrdered = code.allWays(backFrom: end) { before in
        if before.isLoadAcquire { return .right }
        let isLoad = before.isAccess && !before.isStore && !before.usesStackPointer
        return isLoad || before.isCall ? .wrong : .goOn
      }
      #expect(isOrdered, "\(code.place(end)): the last look at the thread's CPU is a plain load")
    }
  }

  @Test(arguments: Guest.CPU.allCases)
  func `A look-up reads a stack's entries between a load-acquire and a barrier for loads`(cpu: Guest.CPU)
    async throws
  {
    let code = try await Code(of: cpu)
    for name in ["StackAllocatorVAARi__Ri_0_rlE5stack2at", "StackAllocatorVAARi__Ri_0_rlE8classify7address"] {
      let barriers = code.function(containing: name).filter { code.words[$0].isBarrierForLoads }
      #expect(!barriers.isEmpty, "\(name)")
      for barrier in barriers {
        var plainLoads = 0
        let isBetween = code.allWays(backFrom: barrier) { before in
          if before.isLoadAcquire { return .right }
          if before.isAccess, !before.usesStackPointer { plainLoads += 1 }
          return before.isStore && !before.usesStackPointer || before.isCall ? .wrong : .goOn
        }
        #expect(isBetween && plainLoads > 0, "\(code.place(barrier)): the first look is not ordered")
        let isLookedAtAgain = code.allWays(onFrom: barrier) { after in
          if after.isAccess, !after.usesStackPointer { return .right }
          return after.isCall ? .wrong : .goOn
        }
        #expect(isLookedAtAgain, "\(code.place(barrier)): there is no second look")
      }
    }
  }

  @Test(arguments: Guest.CPU.allCases)
  func `Before anything of a stopped CPU is read, there is a barrier for loads`(cpu: Guest.CPU) async throws {
    let code = try await Code(of: cpu)
    let function = code.function(containing: "StackAllocatorVAARi__Ri_0_rlE7reclaim14fromStoppedCPU")
    let first = try #require(function.first)
    // It begins with the barrier, or saves registers first.
    if code.words[first].isBarrierForLoads { return }
    #expect(code.words[first].usesStackPointer, "it begins by saving registers")
    let isOrdered = code.allWays(onFrom: first) { after in
      if after.isBarrierForLoads { return .right }
      return after.isAccess && !after.usesStackPointer || after.isCall ? .wrong : .goOn
    }
    #expect(isOrdered, "\(code.place(first))")
  }

  @Test(arguments: Guest.CPU.allCases)
  func `A CPU counts its invalidations with interrupts off`(cpu: Guest.CPU) async throws {
    let code = try await Code(of: cpu)
    let function = code.function(containing: "14AArch64Machine0A0V10invalidate_2in5scope")
    let stores = function.filter { code.words[$0].isStore && !code.words[$0].usesStackPointer }
    #expect(stores.count >= 2, "invalidations and their instructions")
    for store in stores {
      let isMasked = code.allWays(backFrom: store) { before in
        before.masksInterrupts ? .right : before.changesInterrupts || before.isBarrierForAll ? .wrong : .goOn
      }
      #expect(isMasked, "\(code.place(store)): an interrupt may come while it counts")
    }
  }
}
