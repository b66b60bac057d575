// ks_stack_mark_written and ks_stack_dirty_size, for machines whose CPUs keep dirty state.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelStacksCHeader
  import KernelThreadStacks

  @c @implementation func ks_stack_mark_written(_ handle: CStacksHandle, _ address: UInt, _ size: Int) {
    guard let stacks = allocator(handle), size > 0 else { return }
    stacks.pointee.markWritten(VirtualAddress(address), byteCount: size)
  }

  @c @implementation func ks_stack_dirty_size(_ handle: CStacksHandle, _ base: UnsafeRawPointer!) -> Int {
    guard let stacks = allocator(handle) else { return 0 }
    return stacks.pointee.dirtyPageCount(VirtualAddress(UInt(bitPattern: base))) &* pageSize
  }
#endif
