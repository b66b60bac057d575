// Starts the secondary CPUs by firmware: each begins in boot.S, switches to the kernel's tables, and becomes its idle thread.
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

/// Makes the stacks of the secondary CPUs, and starts them.
///
/// On the boot CPU, with interrupts off. A CPU that does not start ends the machine.
func startCPUs() {
  let board = KernelObjects.board
  let count = AArch64().cpuCount
  guard count > 1 else { return }
  // The tables of boot.S for its own page, which have not changed.
  let tables = imagePhysicalAddress(kernel_early_tables())
  let identityRoot = AArch64().virtualAddressBits == 48 ? tables : tables + pageSize
  for number in 1..<count {
    let cpu = PerCPU.at(number)
    cpu.initialize(to: PerCPU())
    cpu.pointee.affinity = board.pointee.cpus[number].affinity
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
  }
  for number in 1..<count { startCPU(number) }
  guard KernelObjects.hasProcesses else { return }
  KernelObjects.processes.pointee.setReclaimOnOtherCPUs(reclaimOnOtherCPUs)
  KernelObjects.processes.pointee.setSettleOnOtherCPUs(settleOnOtherCPUs)
}

/// Starts a CPU, and waits until its idle thread runs, for at most a minute.
func startCPU(_ number: Int) {
  let cpu = PerCPU.at(number)
  cpu.pointee.state = .starting
  // The CPU reads this with its caches off. The clean is completed on the CPU that began it.
  let state = ca_disable_interrupts()
  ca_clean_to_coherency(UInt(bitPattern: cpu), UInt64(PerCPU.stride))
  ca_restore_interrupts(state)
  let argument = withUnsafeMutablePointer(to: &cpu.pointee.start) { UInt(bitPattern: $0) }
  guard
    KernelObjects.board.pointee.firmware.start(
      cpu.pointee.affinity, at: imagePhysicalAddress(kernel_secondary_start()),
      argument: imagePhysicalAddress(argument))
  else { fail("firmware does not start a CPU that the device tree describes") }
  let deadline = ca_read_cntvct_el0() + 60 * ca_read_cntfrq_el0()
  while cpu.pointee.state != .online {
    if ca_read_cntvct_el0() > deadline { fail("a CPU was started and has not come within a minute") }
    ca_wait_for_event()
  }
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
