// Starts the secondary CPUs: each begins in boot.S, switches to the kernel's tables, and becomes its idle thread.
//
// Each CPU's own memory, made before it is started and never freed:
//
//   | exception stack 16 KiB | guard |    areas of the vmalloc area
//   | emergency stack  8 KiB | guard |
//   | idle thread's stack            |    a thread's stack, mapped whole
import AArch64Machine
import CAArch64
import DeviceTree
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios

/// Makes the stacks of the secondary CPUs, and starts them, one after the other.
///
/// On the boot CPU, with interrupts off. Those that the kernel is not to use rest. A CPU that does not start is named on the
/// console, and the others go on: its number is the next one's, and what was made for it stays its own, in case it comes late.
func startCPUs() {
  let wanted = AArch64().cpuCount
  guard wanted > 1 else { return restCPUs(from: 1) }
  let perPage = pageSize / PerCPU.stride
  let others = KernelObjects.board.pointee.cpuCount - 1
  let records = KernelObjects.allocateArea(pages: (others + perPage - 1) / perPage, "CPU records")
  var count = 1
  var index = 1
  while index <= others, count < wanted {
    let record = CPUPointer(bitPattern: records.base.rawValue + UInt((index - 1) * PerCPU.stride))
    prepareCPU(index, record.unsafelyUnwrapped, number: count)
    if startCPU(count) { count += 1 }
    index += 1
  }
  restCPUs(from: index)
  ca_machine().pointee.cpu_count = UInt64(count)
  guard KernelObjects.hasProcesses else { return }
  KernelObjects.processes.pointee.setReclaimOnOtherCPUs(reclaimOnOtherCPUs)
  KernelObjects.processes.pointee.setSettleOnOtherCPUs(settleOnOtherCPUs)
}

/// Makes the record and the stacks of a CPU of the board, which is to have a number.
private func prepareCPU(_ index: Int, _ cpu: CPUPointer, number: Int) {
  // The tables of boot.S for its own page, which have not changed.
  let tables = imagePhysicalAddress(kernel_early_tables())
  let identityRoot = AArch64().virtualAddressBits == 48 ? tables : tables + pageSize
  cpu.initialize(to: PerCPU())
  cpu.pointee.boardIndex = index
  let idle = KernelObjects.allocateStack(whole: true)
  cpu.pointee.idle.prepareIdle(stackBase: idle.base.rawValue, stackTop: idle.top.rawValue)
  let emergency = KernelObjects.allocateArea(pages: 2, "emergency stack")
  let exceptions = KernelObjects.allocateArea(pages: 4, "exception stack")
  let tops = UnsafeMutablePointer<UInt64>(bitPattern: kernel_emergency_stack_tops()).unsafelyUnwrapped
  tops[number] = UInt64(emergency.top.rawValue)
  cpu.pointee.start = kernel_cpu_start(
    identity_ttbr0: UInt64(identityRoot.rawValue), ttbr1: ca_read_ttbr1_el1(), tcr: ca_read_tcr_el1(),
    mair: ca_read_mair_el1(), sctlr: ca_read_sctlr_el1(), empty_ttbr0: UInt64(Scheduler.emptyUserRoot),
    number: UInt64(number), task: UInt64(UInt(bitPattern: cpu)),
    exception_stack_top: UInt64(exceptions.top.rawValue))
  PerCPU.place(cpu, at: number)
  ca_cpu_at(UInt64(number)).pointee.node = UInt64(KernelObjects.board.pointee.cpus[index].node)
}

/// Starts a CPU, and waits until its idle thread runs; whether it begins is waited for at most a minute.
///
/// One that begins, and then hangs, ends the machine a minute later: it has its number, and may write to its memory.
///
/// - Returns: whether it runs; if not, the console says so.
func startCPU(_ number: Int) -> Bool {
  let cpu = PerCPU.at(number)
  let index = cpu.pointee.boardIndex
  cpu.pointee.state = .starting
  // The CPU reads this with its caches off. The clean is completed on the CPU that began it.
  let state = ca_disable_interrupts()
  ca_clean_to_coherency(UInt(bitPattern: cpu), UInt64(PerCPU.stride))
  ca_restore_interrupts(state)
  let argument = withUnsafeMutablePointer(to: &cpu.pointee.start) { UInt(bitPattern: $0) }
  guard tellToStart(index, argument: imagePhysicalAddress(argument)) else {
    cpu.pointee.state = .offline
    warn(of: index, "cannot be started")
    return false
  }
  var (coming, running) = (Patience(minutes: 1), Patience(minutes: 2))
  while cpu.pointee.state != .online {
    if coming.isOver(), cpu.pointee.changeState(from: .starting, to: .abandoned) {
      warn(of: index, "was started and has not come within a minute")
      return false
    }
    if running.isOver() { fail("a CPU has come, and does not run threads after a minute") }
    ca_wait_for_event()
  }
  return true
}

// A line of JSON that names a CPU of the board and says what it did.
private func warn(of index: Int, _ fault: StaticString) {
  var console = Console()
  console.beginLine()
  console.write(#"{"type":"warning","message":"the CPU with affinity "#)
  console.write(hex: UInt(KernelObjects.board.pointee.cpus[index].affinity))
  console.write(" ")
  console.write(fault)
  console.write(#"; the others go on"}"#)
  console.write("\n")
  console.endLine()
}

/// The physical address of an address in the image.
func imagePhysicalAddress(_ address: UInt) -> PhysicalAddress {
  let address = VirtualAddress(address)
  guard let leaf = TranslationTables(kernelOf: AArch64()).translate(address) else {
    fail("no address of the image")
  }
  return leaf.physicalAddress(of: address)
}

/// The entry of a started CPU: its idle thread, at EL1t, with interrupts masked.
@c func kernelStartSecondary() {
  // Its task is the beginning of its record. Its number may be another CPU's by now.
  let own = CPUPointer(bitPattern: UInt(ca_read_tpidr_el1())).unsafelyUnwrapped
  guard own.pointee.changeState(from: .starting, to: .arrived) else { stopForEver() }
  guard !AArch64().tracksDirtyPages || KernelAddressSpace.keepsDirtyState else {
    fail("a CPU cannot keep dirty state, and the first one does")
  }
  guard !AArch64().updatesAccessFlags || KernelAddressSpace.updatesAccessFlags else {
    fail("a CPU cannot set access flags, and the first one does")
  }
  AArch64().startInstructionCounter()
  guard KernelObjects.hasProcesses else {
    // Benchmarks take no interrupts.
    PerCPU.current.pointee.state = .online
    ca_send_event()
    workForEver()
  }
  Interrupts.startThisCPU()
  Scheduler.startThisCPU(running: Thread.idle)
  PerCPU.current.pointee.state = .online
  ca_send_event()
  ca_enable_interrupts()
  // Threads that became ready before this CPU took part have not been offered to it.
  Scheduler.yield()
  idle()
}
