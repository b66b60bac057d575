// boot.S, executed instruction by instruction from the linked kernel: on CPUs that QEMU does not model, at physical
// addresses where QEMU has no memory, and with a check of all its mappings.

import Foundation
import ImageTools
import Testing

@Suite struct BootCode {
  static let gibibyte: UInt64 = 1 << 30

  /// Below and above the reach of 39-bit addresses, and across a boundary of the largest entries.
  static let places: [UInt64] = [
    0, gibibyte, 255 * gibibyte, 290 * gibibyte, 600 * gibibyte, 512 * gibibyte - 0x20_0000, 1 << 47,
  ]

  static let cpus: [BootCPU] = {
    var cpus = [BootCPU()]
    for version in [0, 1, 15] as [UInt64] {
      cpus.append(BootCPU(counterVersion: version))
      cpus.append(BootCPU(startsAtEL2: true, counterVersion: version))
    }
    for tells in [false, true] {
      cpus.append(BootCPU(startsAtEL2: true, hasOnlyVHE: true, tellsThatItHasOnlyVHE: tells))
    }
    cpus.append(
      BootCPU(startsAtEL2: true, fineGrainedTraps: 1, activityMonitors: 1, extendedConfiguration: 1))
    for isNew in [false, true] {
      cpus.append(BootCPU(startsAtEL2: true, interruptRegisters: 1, hasNewController: isNew))
    }
    cpus.append(BootCPU(physicalRange: 6, asidBits: 0))
    cpus.append(BootCPU(physicalRange: 2, asidBits: 0, granule4: 1))
    return cpus
  }()

  private func kernel(_ cpu: Guest.CPU = .cortexA72) async throws -> LinkedKernel {
    try await LinkedKernel(KernelBuild.shared.products(for: cpu).elf)
  }

  /// Boots up to the first Swift function.
  private func boot(
    _ kernel: LinkedKernel, at base: UInt64 = gibibyte, _ cpu: BootCPU = BootCPU(), tree: UInt64 = 0x4800_0000
  ) throws -> A64Interpreter<BootMachine> {
    let machine = BootMachine(kernel.elf, at: base, cpu)
    var run = A64Interpreter(machine, startingAt: machine.physical(kernel["image_header"]))
    run[0] = tree
    try run.run { pc, _ in pc == kernel["kernelBoot"] }
    return run
  }

  @Test(arguments: cpus.indices)
  func `On every CPU, boot code comes to Swift with no register touched that the CPU does not have`(index: Int)
    async throws
  {
    let cpu = Self.cpus[index]
    for kind in Guest.CPU.allCases {
      let kernel = try await kernel(kind)
      let run = try boot(kernel, cpu)
      #expect(run[0] == 0x4800_0000 && run[1] == Self.gibibyte)
      let registers = run.machine.registers
      #expect(run.machine.exceptionLevel == 1)
      #expect(registers[.vbar] == kernel["vectors"] && registers[.tpidrro] == 0)
      #expect(registers[.tpidr] == kernel["boot_task"])
      #expect(run.machine.stackPointers[0] == kernel["boot_stack_top"])
      #expect(run.machine.stackPointers[1] == kernel["emergency_stack_top"])
      #expect(registers[.cpacr] == 0)
      let control = try #require(registers[.tcr])
      #expect(control >> 36 & 1 == (cpu.asidBits == 2 ? 1 : 0), "ASIDs as long as the CPU's")
      #expect(
        control >> 32 & 7 == min(cpu.physicalRange, 5), "no more physical addresses than tables can name")
      guard cpu.startsAtEL2 else { continue }
      #expect(registers[.hcr]! & 0xffff_ffff == 1 << 31, "EL1 is AArch64, nothing is trapped, no stage 2")
      #expect(registers[.vttbr] == 0, "the VMID is known")
      #expect(registers[.cptr] == (cpu.hasOnlyVHE ? 3 << 20 : 0x33ff))
      #expect(registers[.cnthctl] == (cpu.hasOnlyVHE ? 3 << 10 : 3))
      #expect(registers[.mdcr] == ((1...14).contains(cpu.counterVersion) ? 6 : 0))
      #expect(
        registers[.vpidr] == 0x410f_d083 && registers[.vmpidr] == 0x8000_0000 && registers[.cntvoff] == 0)
      if cpu.fineGrainedTraps != 0 { #expect(Known.fineGrainedTraps.allSatisfy { registers[$0] == 0 }) }
      if cpu.extendedConfiguration != 0 { #expect(registers[.hcrx] == 0) }
      if cpu.interruptRegisters != 0 {
        #expect(registers[.iccSRE] == 9, "EL1 may use the registers of a GICv3")
        #expect(registers[.ichHCR] == (cpu.hasNewController ? 0 : nil))
      }
    }
  }

  @Test func `A CPU without pages of 4 KiB ends in an exit code, before any table is used`() async throws {
    let kernel = try await kernel()
    let machine = BootMachine(kernel.elf, at: Self.gibibyte, BootCPU(granule4: 15))
    var run = A64Interpreter(machine, startingAt: machine.physical(kernel["image_header"]))
    try run.run { _, word in word == 0xd45e_0000 }
    #expect(run[0] == 0x18 && !run.machine.isMMUOn)
    #expect(run.machine[physical: run[1]] == 0x20026 && run.machine[physical: run[1] + 8] == 1)
  }

  @Test(arguments: places)
  func `Boot code maps the image wherever it lies, each page once, and one of them at its physical address`(
    base: UInt64
  ) async throws {
    let kernel = try await kernel()
    let machine = try boot(kernel, at: base, tree: base &+ 600 * Self.gibibyte).machine
    let (start, end) = (kernel["image_start"], kernel["image_end"])
    let upper = machine.mappings(root: try #require(machine.registers[.ttbr1]), bits: 39, isUpper: true)
    var next = start
    for range in upper {
      #expect(range.virtual == next, "pages follow each other")
      #expect(range.physical == machine.physical(range.virtual), "at the distance that Swift is told")
      #expect(
        range.attributes == 1 << 54 | (range.byteCount == 4096 ? 0x703 : 0x701), "normal memory, shareable")
      next = range.virtual + range.byteCount
    }
    #expect(next == end)
    let lower = machine.mappings(root: try #require(machine.registers[.ttbr0]), bits: 48, isUpper: false)
    let page = machine.physical(start)
    #expect(
      lower == [MappedRange(virtual: page, physical: page, byteCount: 4096, attributes: 1 << 54 | 0x783)])
    // Secondaries of a kernel with 39-bit addresses begin one level further down.
    let short = machine.mappings(root: machine.registers[.ttbr0]! + 4096, bits: 39, isUpper: false)
    #expect(short.map(\.physical) == [page] && short.map(\.virtual) == [page & (1 << 39 - 1)])
  }

  @Test func `bss is clear when Swift begins, but for the early tables`() async throws {
    let kernel = try await kernel()
    let machine = try boot(kernel).machine
    var address = machine.physical(kernel["loaded_end"])
    let tables = machine.physical(kernel["early_tables"])
    var dirty = 0
    while address < machine.physical(kernel["image_end"]) {
      if !(tables..<tables + 0x8000).contains(address), machine[physical: address] != 0 { dirty += 1 }
      address += 8
    }
    #expect(dirty == 0)
  }

  @Test(arguments: [16, 25] as [UInt64])
  func `New tables of the kernel's half come after nothing of the old ones can be cached`(size: UInt64)
    async throws
  {
    let kernel = try await kernel()
    var run = try boot(kernel)
    // The new tables map the image as the old ones do: the same tables below another root, which lies in the place of a frame
    // for early tables.
    let old = run.machine.registers[.ttbr1]! & 0xffff_ffff_f000
    let new = run.machine.physical(kernel["early_frames"])
    if size == 25 {
      run.machine[physical: new] = run.machine[physical: old]
    } else {
      run.machine[physical: new + 511 * 8] = (new + 4096) | 3
      run.machine[physical: new + 4096] = run.machine[physical: old]
    }
    run[0] = new
    run[1] = run.machine.registers[.tcr]! & ~(63 << 16) | size << 16
    run[2] = run.machine.physicalBase
    run[3] = run.machine.physical(kernel["empty_table"])
    run[30] = kernel["kernelBoot"]
    run.pc = kernel["switch_kernel_tables"]
    try run.run { pc, _ in pc == kernel["kernelBoot"] }
    #expect(run.machine.registers[.ttbr1] == new)
    #expect(run.machine.registers[.tcr]! >> 16 & 63 == size)
    let empty = run.machine.physical(kernel["empty_table"])
    #expect((0..<512).allSatisfy { run.machine[physical: empty + $0 * 8] == 0 })
  }

  @Test(arguments: cpus.indices, [false, true])
  func `A CPU that is started comes to Swift with what is its own`(index: Int, bySpinTable: Bool) async throws {
    let kernel = try await kernel()
    // The first CPU's tables serve.
    var machine = try boot(kernel).machine
    let (ttbr0, ttbr1) = (machine.registers[.ttbr0]!, machine.registers[.ttbr1]!)
    let (control, attributes, tcr) = (
      machine.registers[.sctlr]!, machine.registers[.mair]!, machine.registers[.tcr]!
    )
    // What the CPU reads lies in a record that it does not use.
    let record = machine.physical(kernel["boot_task"])
    let empty = machine.physical(kernel["empty_table"])
    let stack = kernel["first_cpu_record"] + 0x800
    let fields = [ttbr0, ttbr1, tcr, attributes, control, empty, 3, kernel["first_cpu_record"], stack]
    for (index, field) in fields.enumerated() { machine[physical: record + UInt64(index) * 8] = field }
    machine[physical: machine.physical(kernel["first_cpu_record"]) + 0x110] = stack + 0x40
    let memory = machine.memory
    machine = BootMachine(kernel.elf, at: Self.gibibyte, Self.cpus[index])
    machine.memory = memory
    // The entry of another CPU, then its own: this one has the affinity 0, as the first has.
    let list = machine.physical(kernel["spin_list"])
    for (index, word) in [7, record + 8, 0, record].enumerated() {
      machine[physical: list + 16 + UInt64(index) * 8] = word
    }
    let entry = kernel[bySpinTable ? "secondary_spin_start" : "secondary_start"]
    var run = A64Interpreter(machine, startingAt: machine.physical(entry))
    if !bySpinTable { run[0] = record }
    try run.run { pc, _ in pc == kernel["kernelStartSecondary"] }
    #expect(run.machine.registers[.tpidrro] == 3 && run.machine.registers[.tpidr] == kernel["first_cpu_record"])
    #expect(run.machine.stackPointers[0] == stack + 0x40 && run.machine.stackPointers[1] == stack)
    #expect(run.machine.registers[.ttbr0] == empty && run.machine.registers[.ttbr1] == ttbr1)
    #expect(run.machine.registers[.vbar] == kernel["vectors"])
  }
}

/// A kernel as the linker wrote it.
struct LinkedKernel {
  let elf: ElfFile
  private let addresses: [String: UInt64]

  init(_ path: String) throws {
    elf = try ElfFile([UInt8](Data(contentsOf: URL(fileURLWithPath: path))))
    addresses = Dictionary(elf.symbols.map { ($0.name, $0.address) }, uniquingKeysWith: { first, _ in first })
  }

  /// The address of a symbol; 0 where there is none.
  subscript(_ name: String) -> UInt64 { addresses[name] ?? 0 }
}
