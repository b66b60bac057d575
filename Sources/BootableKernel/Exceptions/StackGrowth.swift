// Growth of the running thread's stack: the fast path of a translation fault, and what is wrong when it cannot be.
#if hasFeature(Embedded)
  import AArch64Machine
  import KernelStacks

  nonisolated(unsafe) private var grower: StackGrower<AArch64>?

  /// Lets faults on kernel stacks be handled as growth.
  ///
  /// Interrupts may still be off.
  func startGrowth(_ handle: StackGrower<AArch64>) { grower = handle }

  /// A translation fault of thread code, called by vectors.S, which has saved only what a function may change.
  ///
  /// - Returns: 1 if the stack has grown, and the access is to be repeated.
  @c func kernelGrow(_ address: UInt, _ stackBase: UInt) -> UInt {
    guard let grower else { return 0 }
    return grower.grow(at: VirtualAddress(address), runningOn: VirtualAddress(stackBase)) == .grown ? 1 : 0
  }

  /// Panics if a fault would have been growth, had the reserve been what every switch makes sure of.
  func checkReserve(_ record: ThreadPointer, _ syndrome: ExceptionSyndrome, _ address: UInt) {
    guard syndrome.exceptionClass == .dataAbort, syndrome.isTranslationFault, let grower else { return }
    let base = VirtualAddress(record.pointee.stackBase)
    if grower.grow(at: VirtualAddress(address), runningOn: base) == .reserveTooSmall {
      panic("a stack cannot grow: its thread was switched in with too small a reserve")
    }
  }
#endif
