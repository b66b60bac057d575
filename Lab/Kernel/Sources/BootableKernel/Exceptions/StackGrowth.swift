// Growth of the running thread's stack: the fast path of a translation fault, requests of thread code, and a check after a
// failure; or pages that are lent at each switch. At EL1h, with interrupts off.
import AArch64Machine
import KernelAssembly
import KernelStacks

private var reserveTooSmall: StaticString {
  "a stack cannot grow: its thread was switched in with too small a reserve"
}

nonisolated(unsafe) private var grower: StackGrower<AArch64>?
/// The same for faults; none where pages are lent.
nonisolated(unsafe) private var growerOnFault: StackGrower<AArch64>?
nonisolated(unsafe) private var lender: StackLender<AArch64>?

/// Enables growth: faults on kernel stacks are passed to `handle` from here on.
///
/// Interrupts may still be off.
func startGrowth(_ handle: StackGrower<AArch64>) {
  grower = handle
  growerOnFault = handle
}

/// Lends pages to the threads that are switched in from here on: no fault on a kernel stack is growth any more.
func startLending(_ handle: StackLender<AArch64>) {
  lender = handle
  growerOnFault = nil
}

/// Maps what the stack of a thread lacks that is switched in.
@inline(__always) func lendPages(to thread: ThreadPointer) {
  lender?.lend(to: VirtualAddress(thread.pointee.stackBase))
}

/// Takes back what the thread that this CPU leaves has not touched.
@inline(__always) func takePagesBack() { lender?.takeBack() }

/// Handles a translation fault of thread code; called by vectors.S, which has saved only the registers that a function may
/// change.
///
/// - Returns: 1 if the stack has grown, and the access is to be repeated.
@c func kernelGrow(_ address: UInt, _ stackBase: UInt) -> UInt {
  guard let growerOnFault else { return 0 }
  let growth = growerOnFault.grow(at: VirtualAddress(address), runningOn: VirtualAddress(stackBase))
  return growth == .grown ? 1 : 0
}

/// Maps as many bytes of stack below the stack pointer as x0 says; x0 and x1 become `kernel_ensured`.
func ensureStack(_ record: ThreadPointer) {
  guard let grower else { panic("a stack is to be ensured before there are any") }
  let bytes = Int(truncatingIfNeeded: record.pointee.head.frame.x.0)
  let stackPointer = VirtualAddress(UInt(record.pointee.head.frame.sp))
  do throws(ThreadStackError) {
    let former = try record.scheduled.pointee.ensure(bytes: bytes, below: stackPointer, grower: grower)
    record.pointee.head.frame.x.0 = 0
    record.pointee.head.frame.x.1 = UInt64(former.rawValue)
  } catch {
    if case .reserveTooSmall = error { panic(reserveTooSmall) }
    record.pointee.head.frame.x.0 = 1
    record.pointee.head.frame.x.1 = UInt64(stackPointer - record.scheduled.pointee.stackBase)
  }
}

/// Panics if a fault would have been growth with the reserve that every switch guarantees.
func checkReserve(_ record: ThreadPointer, _ syndrome: ExceptionSyndrome, _ address: UInt) {
  guard syndrome.exceptionClass == .dataAbort, syndrome.isTranslationFault, let grower else { return }
  let base = VirtualAddress(record.pointee.stackBase)
  if grower.grow(at: VirtualAddress(address), runningOn: base) == .reserveTooSmall {
    panic(reserveTooSmall)
  }
}
