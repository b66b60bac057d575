// The order of instructions that no emulator checks: QEMU needs no barriers, and the window between a CPU's look for work
// and its sleep is too short for it. So the test reads the linked kernel: every path to the instruction in question.

import Foundation
import ImageTools
import Testing

@Suite struct InstructionOrder {
  @Test(arguments: Guest.CPU.allCases)
  func `Every TLB invalidation reaches all CPUs, follows the barrier after the last store, and is waited for`(
    cpu: Guest.CPU
  ) async throws {
    let code = try await Code(of: cpu)
    var count = 0
    for index in code.words.indices where code.words[index].isInvalidation {
      let word = code.words[index]
      if word.isOfThisCPU {
        // Boot code drops the translations that a CPU may have when it begins to use tables.
        #expect(code.words[index + 1].isBarrierOfBoot, "\(code.place(index))")
        continue
      }
      count += 1
      let isPublished = code.allWays(backFrom: index) { before in
        if before.isBarrierForStores { return .right }
        return before.isStore && !before.usesStackPointer || before.isCall ? .wrong : .goOn
      }
      #expect(isPublished, "\(code.place(index)): a store may come after the barrier, or there is none")
      let isWaitedFor = code.allWays(onFrom: index) { after in
        if after.isBarrierForAll { return .right }
        return after.isAccess && !after.usesStackPointer || after.isCall ? .wrong : .goOn
      }
      #expect(isWaitedFor, "\(code.place(index)): something may happen before its end")
    }
    #expect(count >= 4, "the kernel's and processes', pages, tables and all")
  }

  @Test(arguments: Guest.CPU.allCases)
  func `Entries of the kernel are dropped whatever their ASID, a process's by its own, all of either at once`(
    cpu: Guest.CPU
  ) async throws {
    let code = try await Code(of: cpu)
    let machine = Set(code.function(containing: "AArch64Machine"))
    var (kinds, others): (Set<UInt32>, Set<UInt32>) = ([], [])
    for index in code.words.indices where code.words[index].isInvalidation && !code.words[index].isOfThisCPU {
      let kind = code.words[index].invalidationKind
      if machine.contains(index) { kinds.insert(kind) } else { others.insert(kind) }
    }
    // VMALLE1IS, VAE1IS, ASIDE1IS, VAAE1IS, VALE1IS, VAALE1IS.
    #expect(kinds == [0, 1, 2, 3, 5, 7])
    #expect(others == [0, 7], "the yardstick has kernel pages only")
  }

  @Test(arguments: Guest.CPU.allCases)
  func `What a thread has begun on a CPU is complete before other CPUs find the thread, a new one included`(
    cpu: Guest.CPU
  ) async throws {
    let code = try await Code(of: cpu)
    let next = code.function(containing: "ThreadSchedulerV4next")
    let changes = next.filter { index in
      if code.words[index].setsCurrentThread { return true }
      guard let distance = code.words[index].callDistance else { return false }
      return code.function(at: index + distance).contains { code.words[$0].setsCurrentThread }
    }
    try #require(!changes.isEmpty)
    for change in changes {
      let isCompleted = code.allWays(onFrom: change) { after in
        if after.isBarrierForAll { return .right }
        return after.isAccess && !after.usesStackPointer || after.isCall ? .wrong : .goOn
      }
      #expect(
        isCompleted, "\(code.place(change)): something may happen before the thread's accesses are complete")
    }
    let releases = code.function(containing: "ThreadSchedulerV7enqueue").filter {
      code.words[$0].isStoreRelease
    }
    try #require(!releases.isEmpty)
    for release in releases {
      let isCompleted = code.allWays(backFrom: release) { $0.isBarrierForAll ? .right : .goOn }
      #expect(
        isCompleted, "\(code.place(release)): a new thread is found before what was written to its stack")
    }
  }

  @Test(arguments: Guest.CPU.allCases)
  func `Dirty bits are read after a barrier for loads and stores`(cpu: Guest.CPU) async throws {
    let code = try await Code(of: cpu)
    for name in ["clearDirtyPages", "clear_dirty_pages"] {
      let function = code.function(containing: name)
      let accesses = function.filter { code.words[$0].isAccess && !code.words[$0].usesStackPointer }
      try #require(!accesses.isEmpty, "\(name)")
      for access in accesses {
        let isOrdered = code.allWays(backFrom: access) { $0.isBarrierForAll ? .right : .goOn }
        #expect(isOrdered, "\(code.place(access))")
      }
    }
  }

  @Test(arguments: Guest.CPU.allCases)
  func `Cleaning to memory is waited for on the CPU that does it: interrupts are off`(cpu: Guest.CPU)
    async throws
  {
    let code = try await Code(of: cpu)
    let cleans = code.words.indices.filter { code.words[$0].isCleanToCoherency }
    try #require(!cleans.isEmpty)
    for clean in cleans {
      let isMasked = code.allWays(backFrom: clean) { before in
        before.masksInterrupts ? .right : before.changesInterrupts ? .wrong : .goOn
      }
      #expect(isMasked, "\(code.place(clean)): interrupts are on")
      let isWaitedFor = code.allWays(onFrom: clean) { after in
        after == .barrierForSystem ? .right : after.changesInterrupts || after.isCall ? .wrong : .goOn
      }
      #expect(
        isWaitedFor, "\(code.place(clean)): interrupts come on, or something else happens, before its end")
    }
  }

  @Test(arguments: Guest.CPU.allCases)
  func `An idle CPU looks for work by a load-acquire, with interrupts off, which stay off until it sleeps`(
    cpu: Guest.CPU
  ) async throws {
    let code = try await Code(of: cpu)
    let sleeps = code.function(containing: "BootableKernel4idle").filter {
      code.words[$0] == .waitForInterrupt
    }
    try #require(!sleeps.isEmpty)
    for sleep in sleeps {
      var looks: [Int] = []
      let isLookedAt = code.allWays(backFrom: sleep) { index, before in
        if before.isLoadAcquire {
          looks.append(index)
          return .right
        }
        return before.isAccess && !before.usesStackPointer || before.changesInterrupts ? .wrong : .goOn
      }
      #expect(
        isLookedAt, "\(code.place(sleep)): the last look is not ordered, or interrupts came on after it")
      for look in looks {
        let isMasked = code.allWays(backFrom: look) { before in
          before.masksInterrupts ? .right : before.changesInterrupts ? .wrong : .goOn
        }
        #expect(isMasked, "\(code.place(look)): interrupts are on while it looks for work")
      }
    }
  }

  @Test(arguments: Guest.CPU.allCases)
  func `What was stored before an interrupt was raised is read after the interrupt controller has been asked`(
    cpu: Guest.CPU
  ) async throws {
    let code = try await Code(of: cpu)
    // The number that says that no interrupt was pending: it is compared with the controller's answer.
    let compares = code.function(containing: "kernelInterrupt").filter { code.words[$0].comparesWithSpurious }
    try #require(!compares.isEmpty)
    for compare in compares {
      var barriers: [Int] = []
      let isOrdered = code.allWays(backFrom: compare) { index, before in
        if before.isBarrierForLoads { barriers.append(index) }
        return before.isBarrierForLoads ? .right : before.isAccess || before.isCall ? .wrong : .goOn
      }
      #expect(isOrdered, "\(code.place(compare)): loads that follow may come before the controller's answer")
      for barrier in barriers {
        let followsAnswer = code.allWays(backFrom: barrier) { before in
          // The load is the last of the function that is called.
          before.isCall ? .right : before.isAccess ? .wrong : .goOn
        }
        #expect(followsAnswer, "\(code.place(barrier)): the controller's answer is not what it orders")
      }
    }
  }

  @Test(arguments: Guest.CPU.allCases)
  func `No store comes between a CPU's watch of a lock and its wait for another's store`(cpu: Guest.CPU)
    async throws
  {
    let code = try await Code(of: cpu)
    let waits = code.function(containing: "ca_lock_contended").filter { code.words[$0] == .waitForEvent }
    try #require(waits.count >= 3)
    for wait in waits {
      let isWatching = code.allWays(backFrom: wait) { before in
        if before.isLoadExclusive { return .right }
        return before.isAccess || before == .clearExclusive || before.isCall ? .wrong : .goOn
      }
      #expect(isWatching, "\(code.place(wait)): the watch may have ended")
    }
  }

  @Test(arguments: Guest.CPU.allCases)
  func `No global of the kernel is initialised when it is first used`(cpu: Guest.CPU) async throws {
    let names = try await Code(of: cpu).names
    try #require(names.contains("kernelBoot"))
    #expect(names.filter { $0 == "swift_once" || $0.hasSuffix("_WZ") } == [])
  }
}
