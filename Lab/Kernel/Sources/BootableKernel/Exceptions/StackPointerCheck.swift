// The software check of stack pointers: at exception entry, and when a task is switched in.
//
//               own guard          own stack                         anywhere else
//   ---+---------------------+------------------+------------------------------------------
//      |      overflow       |      right       |  corrupted: named by what lies there
//   ---+---------------------+------------------+------------------------------------------
//                           base               top        null and unaligned ones have names of their own
//
// A corrupted stack pointer ends the kernel, since what was stored through it by then, and where, is unknown. Growth does not
// check it: that uses the address of the access and the task's record, never the stack pointer.
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios

/// The event at which an overflow or a corrupted stack pointer was found.
enum FaultDiscovery {
  case access
  case exception
  case interrupt
  case switchingOut
  case switchingIn

  var name: StaticString {
    switch self {
    case .access: "access"
    case .exception: "exception"
    case .interrupt: "interrupt"
    case .switchingOut: "switch out"
    case .switchingIn: "switch in"
    }
  }
}

extension Thread {
  /// Whether the saved registers are those of thread code, including a kernel stack pointer.
  @inline(__always) var wasInKernel: Bool { head.frame.spsr & 0xf == 4 }

  /// Whether the saved stack pointer is aligned and on the task's own stack.
  ///
  /// The base is a multiple of 16, so the low bits of the distance are those of the stack pointer; rotated to the top, they
  /// make an unaligned one too large.
  @inline(__always) var hasOwnStackPointer: Bool {
    let distance = UInt(head.frame.sp) &- stackBase
    return distance &>> 4 | distance &<< 60 <= (UInt(head.stack_top) &- stackBase) &>> 4
  }
}

/// The fault of a stack pointer.
enum StackPointerFault {
  /// It is 0.
  case null
  /// It is no multiple of 16.
  case unaligned
  /// It is below its own stack: an overflow.
  case overflow
  /// It is above the usable part of its own stack, where `thread_info` may be.
  case aboveOwnStack
  /// It is on another task's stack.
  case otherStack(StackBounds)
  /// It is in the guard of another task's stack.
  case otherGuard(StackBounds)
  /// It is in a slot whose stack is not in use.
  case unusedSlot(StackBounds)
  /// It is on the boot stack, which belongs to another task.
  case bootStack(StackBounds)
  /// It is at an address without a stack.
  case outside

  var name: StaticString {
    switch self {
    case .null: "null"
    case .unaligned: "unaligned"
    case .overflow: "overflow"
    case .aboveOwnStack: "above own stack"
    case .otherStack: "other stack"
    case .otherGuard: "other guard"
    case .unusedSlot: "unused slot"
    case .bootStack: "boot stack"
    case .outside: "outside"
    }
  }

  /// The bounds of the stack in whose slot it lies, if that is another task's or unused.
  var bounds: StackBounds? {
    switch self {
    case .otherStack(let bounds), .otherGuard(let bounds), .unusedSlot(let bounds), .bootStack(let bounds):
      bounds
    default: nil
    }
  }
}

/// Finds the fault of a task's saved kernel stack pointer, which is known not to be on the task's own stack.
func diagnoseStackPointer(_ record: ThreadPointer) -> StackPointerFault {
  let value = VirtualAddress(UInt(record.pointee.head.frame.sp))
  if value.rawValue == 0 { return .null }
  if value.rawValue & 15 != 0 { return .unaligned }
  let base = VirtualAddress(record.pointee.stackBase)
  if record == Thread.boot {
    if value.rawValue >= kernel_boot_stack_guard(), value < base { return .overflow }
  }
  guard KernelObjects.hasProcesses else { return .outside }
  let geometry = KernelObjects.stacks.pointee.geometry
  let isInOwnSlot = geometry.stackBase(stackPointer: value) == geometry.stackBase(containing: base)
  switch KernelObjects.stacks.pointee.classify(stackPointer: value) {
  case .stack(let bounds):
    return !isInOwnSlot ? .otherStack(bounds) : value < base ? .overflow : .aboveOwnStack
  case .stackGuard(let bounds):
    return isInOwnSlot ? .overflow : .otherGuard(bounds)
  case .unusedSlot(let bounds):
    return .unusedSlot(bounds)
  case .bootStack(let bounds):
    return record == Thread.boot ? .aboveOwnStack : .bootStack(bounds)
  case .linearMap(let bounds):
    if isInOwnSlot, value > base { return .aboveOwnStack }
    // Without a guard, a stack pointer less than a stack size below its stack counts as an overflow.
    if value < base, base - value <= geometry.size { return .overflow }
    return isStack(bounds) ? .otherStack(bounds) : .outside
  case .elsewhere, .unaligned:
    return .outside
  }
}

// Linear stacks have no record: the purpose of the frame identifies them.
private func isStack(_ bounds: StackBounds) -> Bool {
  guard let frame = KernelObjects.stacks.pointee.page(of: bounds.base),
    case .used(.threadStack) = KernelObjects.frames.pointee.owner(of: frame)
  else { return false }
  return true
}

/// Handles a task's stack pointer that is off its own stack: as an overflow if it is one; any other ends the kernel.
///
/// At EL1h.
///
/// - Returns: the record of the task to continue.
func resolveStackPointer(_ record: ThreadPointer, _ discovery: FaultDiscovery) -> ThreadPointer {
  let fault = diagnoseStackPointer(record)
  if case .overflow = fault {
    return resolveOverflow(record, address: UInt(record.pointee.head.frame.sp), discovery)
  }
  beginReport()
  reportStackPointer(record, fault, discovery)
  panic("corrupted stack pointer")
}

/// Prints a corrupted stack pointer: its task, its value, that task's stack bounds, and what lies at the address.
func reportStackPointer(
  _ record: ThreadPointer, _ fault: StackPointerFault, _ discovery: FaultDiscovery
) {
  let value = UInt(record.pointee.head.frame.sp)
  let own = StackBounds(
    base: VirtualAddress(record.pointee.stackBase), top: VirtualAddress(UInt(record.pointee.head.stack_top)))
  var console = Console()
  console.write("corrupted stack pointer: task ")
  console.write(record.pointee.id)
  console.write(", found at ")
  console.write(discovery.name)
  console.write("\n  SP          ")
  console.write(hex: value)
  console.write("\n  own stack   ")
  own.write(to: &console)
  console.write("\n  it is       ")
  console.write(fault.name)
  let owner = fault.bounds.flatMap { ownerOfStack($0, fault) }
  if let bounds = fault.bounds {
    console.write(" ")
    bounds.write(to: &console)
  }
  if let owner {
    console.write(" of task ")
    console.write(owner)
  }
  console.write("\n  instruction ")
  console.write(hex: UInt(record.pointee.head.frame.elr))
  console.write("\n")
  let frame = UnsafeMutableRawPointer(record).assumingMemoryBound(to: kernel_frame.self)
  writeBacktrace(frame, lowest: own.base.rawValue, top: own.top.rawValue, to: &console)
  var json = JSONWriter(console)
  json.begin("stackPointer")
  json.field("task", record.pointee.id)
  json.field("is", fault.name)
  json.field("foundAt", discovery.name)
  if let owner { json.field("stackOfTask", owner) } else { json.nullField("stackOfTask") }
  json.end()
}

// The words in a stack's thread_info, for code that has only a stack pointer:
//
//   +0   the task's record; 0: static, or none
//   +8   a magic number: the words are valid
//   +16  the task's number
private var isIdentified: UInt { 0x7461_736b }

/// Writes a new task's number and record into its stack's `thread_info`.
func identifyStack(_ thread: borrowing Thread, record: UInt) {
  guard KernelObjects.hasProcesses else { return }
  let geometry = KernelObjects.stacks.pointee.geometry
  let info = geometry.threadInfo(stackPointer: VirtualAddress(UInt(thread.head.stack_top)))
  guard let words = info.pointer?.assumingMemoryBound(to: UInt.self) else { return }
  words[0] = record
  words[1] = isIdentified
  words[2] = UInt(bitPattern: thread.id)
}

// Linear stacks are not recorded: memory that was never a task's stack identifies none. The boot stack is the boot task's.
private func ownerOfStack(_ bounds: StackBounds, _ fault: StackPointerFault) -> Int? {
  switch fault {
  case .bootStack: return Thread.boot.pointee.id
  case .otherStack, .otherGuard:
    let info = bounds.base + KernelObjects.stacks.pointee.geometry.threadInfoOffset
    guard let words = info.pointer, words.load(fromByteOffset: 8, as: UInt.self) == isIdentified else {
      return nil
    }
    return words.load(fromByteOffset: 16, as: Int.self)
  default: return nil
  }
}
