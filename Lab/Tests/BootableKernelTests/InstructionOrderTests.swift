// The order of instructions that no emulator checks: QEMU needs no barriers, and what happens between a look for work and the
// sleep of a CPU is too short for it. So the linked kernel is read, every way that leads to the instruction in question.

#if Tools
  import Foundation
  import ImageTools
  import Testing

  @Suite struct InstructionOrder {
    @Test(
      "Every TLB invalidation reaches all CPUs, follows a barrier that no store comes after, and is waited for at once",
      arguments: Guest.CPU.allCases)
    func invalidations(cpu: Guest.CPU) async throws {
      let code = try await Code(of: cpu)
      var count = 0
      for index in code.words.indices where code.words[index].isInvalidation {
        let word = code.words[index]
        if word.isOfThisCPU {
          // Boot code drops what a CPU that begins to use tables may have.
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

    @Test(
      "The kernel's pages and tables are dropped whatever their ASID, a process's by its own, and all of either at once",
      arguments: Guest.CPU.allCases)
    func kindsOfInvalidation(cpu: Guest.CPU) async throws {
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

    @Test(
      "What a thread has begun on a CPU is complete before the scheduler lets others find it, also one that is new",
      arguments: Guest.CPU.allCases)
    func switches(cpu: Guest.CPU) async throws {
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

    @Test("Dirty bits are read after a barrier for loads and stores", arguments: Guest.CPU.allCases)
    func dirtyBits(cpu: Guest.CPU) async throws {
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

    @Test(
      "Cleaning to memory is waited for on the CPU that does it: interrupts are off",
      arguments: Guest.CPU.allCases)
    func cleaning(cpu: Guest.CPU) async throws {
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

    @Test(
      "An idle CPU looks for work with interrupts off, by a load that orders what follows, and they stay off until it sleeps",
      arguments: Guest.CPU.allCases)
    func idleLoop(cpu: Guest.CPU) async throws {
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
  }

  /// What an instruction says about the way that it lies on.
  private enum Verdict { case right, wrong, goOn }

  /// The instructions of a linked kernel, and which can come before and after each.
  private struct Code {
    let words: [Instruction]
    private let elf: ElfFile
    private let base: UInt64
    private var origins: [Int: [Int]] = [:]

    init(of cpu: Guest.CPU) async throws {
      let path = try await KernelBuild.shared.products(for: cpu).elf
      elf = try ElfFile([UInt8](Data(contentsOf: URL(fileURLWithPath: path))))
      let section = try #require(elf.sections.filter(\.isCode).max { $0.byteCount < $1.byteCount })
      base = section.address
      let bytes = Array(elf.contents(of: section))
      words = (0..<bytes.count / 4).map { index in
        Instruction(word: (0..<4).reduce(0) { $0 | UInt32(bytes[index * 4 + $1]) << UInt32($1 * 8) })
      }
      for index in words.indices {
        guard let distance = words[index].branchDistance else { continue }
        origins[index + distance, default: []].append(index)
      }
    }

    /// Where an instruction is, for a report.
    func place(_ index: Int) -> String {
      let address = base + UInt64(index) * 4
      let before = elf.symbols.filter { $0.type != 3 && $0.address <= address && !$0.name.hasPrefix("$x") }
      let symbol = before.max { $0.address < $1.address }
      return "\(String(address, radix: 16)) in \(symbol?.name ?? "?")"
    }

    /// The instructions of the functions whose names contain a text.
    func function(containing text: String) -> [Int] {
      elf.symbols.filter { $0.type == 2 && $0.name.contains(text) }.flatMap { symbol in
        let first = Int(symbol.address - base) / 4
        return Array(first..<first + symbol.byteCount / 4)
      }
    }

    /// The instructions of the function that begins at one of them; none if no function does.
    func function(at index: Int) -> [Int] {
      let address = base + UInt64(index) * 4
      guard let symbol = elf.symbols.first(where: { $0.type == 2 && $0.address == address }) else { return [] }
      return Array(index..<index + symbol.byteCount / 4)
    }

    /// Whether all ways that lead to an instruction have one that is right, with none that is wrong after it.
    func allWays(backFrom index: Int, _ judge: (Int, Instruction) -> Verdict) -> Bool {
      follow(from: index, judge) { index in
        let falls = index > 0 && words[index - 1].fallsThrough ? [index - 1] : []
        return falls + (origins[index] ?? [])
      }
    }

    func allWays(backFrom index: Int, _ judge: (Instruction) -> Verdict) -> Bool {
      allWays(backFrom: index) { judge($1) }
    }

    /// Whether all ways on from an instruction come to one that is right before one that is wrong.
    func allWays(onFrom index: Int, _ judge: (Instruction) -> Verdict) -> Bool {
      follow(from: index, { judge($1) }) { index in
        let falls = words[index].fallsThrough ? [index + 1] : []
        return falls + (words[index].branchDistance.map { [index + $0] } ?? [])
      }
    }

    private func follow(
      from start: Int, _ judge: (Int, Instruction) -> Verdict, _ neighbours: (Int) -> [Int]
    ) -> Bool {
      var (left, seen) = ([start], Set([start]))
      while let index = left.popLast() {
        let next = neighbours(index)
        if next.isEmpty { return false }
        for neighbour in next where words.indices.contains(neighbour) && seen.insert(neighbour).inserted {
          switch judge(neighbour, words[neighbour]) {
          case .right: break
          case .wrong: return false
          case .goOn: left.append(neighbour)
          }
        }
      }
      return true
    }
  }

  /// An A64 instruction, as far as these tests have to know it.
  ///
  /// Source: Arm Architecture Reference Manual (DDI 0487), C4.1 "A64 instruction set encoding".
  private struct Instruction: Equatable {
    let word: UInt32

    static let waitForInterrupt = Self(word: 0xd503_207f)
    /// DSB SY.
    static let barrierForSystem = Self(word: 0xd503_3f9f)

    private func matches(_ mask: UInt32, _ value: UInt32) -> Bool { word & mask == value }

    /// SYS with CRn 8.
    var isInvalidation: Bool { matches(0xfff8_f000, 0xd508_8000) }
    /// CRm 7: not broadcast.
    var isOfThisCPU: Bool { word >> 8 & 15 == 7 }
    /// What an invalidation drops: op2.
    var invalidationKind: UInt32 { word >> 5 & 7 }
    /// DC CVAC.
    var isCleanToCoherency: Bool { matches(0xffff_ffe0, 0xd50b_7a20) }
    /// MSR TPIDR_EL1.
    var setsCurrentThread: Bool { matches(0xffff_ffe0, 0xd518_d080) }
    /// DSB NSH or SY, as boot code has them.
    var isBarrierOfBoot: Bool { word == 0xd503_379f || word == 0xd503_3f9f }
    /// DSB ISH or SY.
    var isBarrierForAll: Bool { word == 0xd503_3b9f || word == 0xd503_3f9f }
    /// The same, or DSB ISHST.
    var isBarrierForStores: Bool { isBarrierForAll || word == 0xd503_3a9f }

    /// A load or store, other than of a literal.
    var isAccess: Bool { matches(0x0a00_0000, 0x0800_0000) && !matches(0x3b00_0000, 0x1800_0000) }
    var isStore: Bool {
      guard isAccess else { return false }
      let isRegister = matches(0x3800_0000, 0x3800_0000)
      return isRegister ? word >> 22 & 3 == 0 : word >> 22 & 1 == 0
    }
    var usesStackPointer: Bool { word >> 5 & 31 == 31 }
    /// LDAR of any size.
    var isLoadAcquire: Bool { matches(0x3fff_fc00, 0x08df_fc00) }

    /// STLR of any size.
    var isStoreRelease: Bool { matches(0x3fff_fc00, 0x089f_fc00) }

    /// MSR DAIFSet with I.
    var masksInterrupts: Bool { matches(0xffff_f2ff, 0xd503_42df) }
    /// MSR DAIF, DAIFSet, DAIFClr.
    var changesInterrupts: Bool {
      matches(0xffff_ffe0, 0xd51b_4220) || matches(0xffff_f0df, 0xd503_40df)
    }

    /// BL, BLR, RET, BR, ERET.
    var isCall: Bool { matches(0xfc00_0000, 0x9400_0000) || matches(0xfe00_0000, 0xd600_0000) }

    /// Whether the next instruction may follow.
    var fallsThrough: Bool {
      let isLeft = matches(0xfc00_0000, 0x1400_0000) || matches(0xffe0_001f, 0xd420_0000) || word == 0
      let isReturn = matches(0xfe00_0000, 0xd600_0000) && !matches(0xffff_fc1f, 0xd63f_0000)
      return !isLeft && !isReturn
    }

    /// How many instructions away a branch leads, calls apart.
    var branchDistance: Int? {
      if matches(0xfc00_0000, 0x1400_0000) { return signed(word & 0x3ff_ffff, 26) }
      if matches(0xff00_0010, 0x5400_0000) || matches(0x7e00_0000, 0x3400_0000) {
        return signed(word >> 5 & 0x7_ffff, 19)
      }
      return matches(0x7e00_0000, 0x3600_0000) ? signed(word >> 5 & 0x3fff, 14) : nil
    }

    /// How many instructions away a call leads.
    var callDistance: Int? { matches(0xfc00_0000, 0x9400_0000) ? signed(word & 0x3ff_ffff, 26) : nil }

    private func signed(_ value: UInt32, _ bits: UInt32) -> Int {
      Int(Int32(bitPattern: value << (32 - bits)) >> Int32(32 - bits))
    }
  }
#endif
