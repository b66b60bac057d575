// Stack overflow: found by the guard at the access, or late by a check; handled at EL1h, on the exception stack.
//
//                                 task can die: interrupts on, no allocator   otherwise
//   vmalloc, growing   the guard  the task ends, all others go on             report, panic
//   linear             late       report, panic                               report, panic
//
// A linear stack's overflow has overwritten memory of other owners, so the kernel cannot go on.
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios
import SystemCallInterface
import UserPrograms

/// Handles a fault that is a stack overflow, at EL1h.
///
/// - Returns: the record of the task to continue, or `nil` if the fault is no overflow.
func endOverflow(_ record: ThreadPointer, _ syndrome: ExceptionSyndrome, _ address: UInt) -> ThreadPointer? {
  guard syndrome.exceptionClass == .dataAbort, let bounds = overflowedStack(record, address) else {
    return nil
  }
  guard isOwn(bounds, record) else {
    beginReport()
    reportOverflow(record, bounds, address, .access, dies: false)
    panic("access to the guard of another task's stack")
  }
  return resolveOverflow(record, address: address, .access)
}

/// Handles the fault of a task whose stack pointer is off its stack, as ``endOverflow(_:_:_:)``: an overflow only if the
/// fault is in the task's own guard.
func endOwnOverflow(_ record: ThreadPointer, _ syndrome: ExceptionSyndrome, _ address: UInt) -> ThreadPointer? {
  guard case .overflow = diagnoseStackPointer(record), syndrome.exceptionClass == .dataAbort,
    let bounds = overflowedStack(record, address), isOwn(bounds, record)
  else { return nil }
  return resolveOverflow(record, address: address, .access)
}

private func isOwn(_ bounds: StackBounds, _ record: ThreadPointer) -> Bool {
  bounds.top.rawValue >= UInt(record.pointee.head.stack_top)
    && bounds.base.rawValue <= record.pointee.stackBase
}

/// Reports that a task has overflowed its own stack, and ends the task if only it is affected, and otherwise the kernel.
///
/// At EL1h.
///
/// - Parameters:
///   - record: the task; its registers are saved.
///   - address: the lowest address known to have been reached.
///   - discovery: how the overflow was found.
/// - Returns: the record of the task to continue.
func resolveOverflow(_ record: ThreadPointer, address: UInt, _ discovery: FaultDiscovery) -> ThreadPointer {
  let bounds = StackBounds(
    base: VirtualAddress(record.pointee.stackBase), top: VirtualAddress(UInt(record.pointee.head.stack_top)))
  let obstacle = obstacleToDying(record, discovery)
  if obstacle != nil { beginReport() }
  reportOverflow(record, bounds, address, discovery, dies: obstacle == nil)
  if let obstacle {
    if hasEndMarkers, discovery != .access { writeLateOverflowResult() }
    panic(obstacle)
  }
  record.pointee.isDying = true
  let end: @convention(c) () -> Void = endOverflowedTask
  record.pointee.head.frame.sp = record.pointee.head.stack_top - UInt64(FRAME_SIZE)
  record.pointee.head.frame.elr = UInt64(UInt(bitPattern: unsafeBitCast(end, to: Int.self)))
  record.pointee.head.frame.spsr = 0x4  // EL1t, interrupts on
  record.pointee.head.frame.x.29 = 0
  record.pointee.head.frame.x.30 = 0
  return record
}

// The reason why the kernel cannot go on without this task, or with what it leaves behind; `nil` if it can.
private func obstacleToDying(_ record: ThreadPointer, _ discovery: FaultDiscovery) -> StaticString? {
  if hasEndMarkers, discovery != .access {
    return "kernel stack overflow, found late: memory below the stack may be damaged"
  }
  if record == Thread.boot || record == Thread.idle {
    return "kernel stack overflow of a task that cannot be missed"
  }
  if record.pointee.head.frame.spsr & 0x80 != 0 {
    return "kernel stack overflow with interrupts off: locks may be held"
  }
  if record.pointee.allocatorSections > 0 { return "kernel stack overflow inside the allocator" }
  if record.pointee.isDying { return "kernel stack overflow of a task that was ending" }
  return nil
}

// The boot stack's guard is recognized by its address in the image, all others by their slots.
private func overflowedStack(_ record: ThreadPointer, _ address: UInt) -> StackBounds? {
  if address >= kernel_boot_stack_guard(), address < kernel_boot_stack() {
    return StackBounds(
      base: VirtualAddress(kernel_boot_stack()), top: VirtualAddress(kernel_boot_stack_top()))
  }
  guard KernelObjects.hasProcesses else { return nil }
  if case .stackGuard(let bounds) = KernelObjects.stacks.pointee.classify(
    address: VirtualAddress(address))
  {
    return bounds
  }
  return nil
}

private func reportOverflow(
  _ record: ThreadPointer, _ bounds: StackBounds, _ address: UInt, _ discovery: FaultDiscovery, dies: Bool
) {
  var console = Console()
  console.beginLine()
  console.write("kernel stack overflow: task ")
  console.write(record.pointee.id)
  console.write(", found at ")
  console.write(discovery.name)
  console.write("\n  stack       ")
  bounds.write(to: &console)
  console.write("\n  address     ")
  console.write(hex: address)
  console.write(", ")
  console.write(bounds.base - VirtualAddress(address))
  console.write(" bytes below the stack\n  instruction ")
  console.write(hex: UInt(record.pointee.head.frame.elr))
  console.write("\n")
  let frame = UnsafeMutableRawPointer(record).assumingMemoryBound(to: kernel_frame.self)
  // Frame records may reach into thread_info, which is mapped too.
  writeBacktrace(frame, lowest: lowestMapped(bounds), top: bounds.top.rawValue, to: &console)
  var json = JSONWriter(console)
  json.begin("overflow")
  json.field("task", record.pointee.id)
  json.field("bytesBelow", bounds.base - VirtualAddress(address))
  json.field("foundAt", discovery.name)
  json.field("taskDies", dies)
  json.end()
  console.endLine()
}

private func lowestMapped(_ bounds: StackBounds) -> UInt {
  let page = bounds.base.rawValue & ~0xfff
  guard KernelObjects.hasProcesses, page != kernel_boot_stack() else { return page }
  return KernelObjects.stacks.pointee.geometry.stackBase(containing: bounds.base).rawValue
}

/// Overflows the current task's stack on purpose, after taking memory that only its registry records.
///
/// On a stack without a guard it goes down as far as the end marker and comes back: memory below has other owners.
func leaveStack(_ registry: inout TaskRegistry) {
  inAllocatorSection { KernelObjects.processes.pointee.prepareOverflow(of: &registry) }
  if !hasEndMarkers { return overflow_stack() }
  _ = prove_stack(Thread.current.pointee.stackBase - UInt(StackEndMarker.byteCount), 0)
  Scheduler.yield()
}

/// The function at which an overflowed task continues, at the top of its stack: it ends the task.
@c func endOverflowedTask() {
  let record = Thread.current
  if record.pointee.id > 0 { endProcess(status: 0, end: .stackOverflow) }
  if record.pointee.isManaged {
    inAllocatorSection { KernelObjects.processes.pointee.threadOverflowed(kernelThread(of: record)) }
  }
  Scheduler.exit()
}
