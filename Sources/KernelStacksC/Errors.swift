// ks_error_text, ks_code_text.
#if hasFeature(Embedded)
  import KernelStacksCHeader

  @c @implementation func ks_error_text(_ error: UnsafePointer<ks_error>!) -> UnsafePointer<CChar>! {
    guard let error, error.pointee.code != KS_OK else { return ks_code_text(KS_OK) }
    return ks_text_in(error)
  }

  @c @implementation func ks_code_text(_ code: ks_code) -> UnsafePointer<CChar>! {
    // String literals of the image end with 0.
    let text: StaticString =
      switch code {
      case KS_OK: "no error"
      case KS_NOT_INITIALIZED: "not initialized"
      case KS_ALREADY_INITIALIZED: "already initialized"
      case KS_BAD_MACHINE: "the CPU or its tables are not as described"
      case KS_BAD_MEMORY: "the ranges of memory contradict each other"
      case KS_BAD_CONFIGURATION: "the configuration contradicts itself or the machine"
      case KS_BAD_ARGUMENT: "bad argument"
      case KS_NO_FRAMES: "too little memory, or in too small pieces"
      case KS_NO_ADDRESS_SPACE: "no gap in the vmalloc area is large enough"
      case KS_NO_SLOTS: "all stack slots are in use"
      case KS_THREADS_WAIT: "threads wait for frames that their stacks may need"
      case KS_GROUP_LIMIT: "the group has as much stack memory as it may have"
      case KS_NO_GROUPS: "all groups exist already"
      case KS_UNKNOWN_GROUP: "there is no such group"
      case KS_BEYOND_STACK: "more bytes than the stack has"
      case KS_FOREIGN_ADDRESS: "an address of nothing that was handed out here"
      case KS_INNER_ADDRESS: "an address within what was handed out"
      case KS_DOUBLE_FREE: "freed already"
      case KS_RUNNING_STACK: "the stack that the caller runs on"
      case KS_BOOT_STACK: "the boot stack is never freed"
      case KS_IN_USE: "still in use"
      case KS_OCCUPIED: "something else is mapped there"
      case KS_NO_RESERVE: "the CPU's reserve is too small for the stack to grow"
      case KS_CANNOT_LEND: "pages cannot be lent on this CPU"
      case KS_NO_ALLOCATORS: "all allocators of stacks exist already"
      case KS_BAD_FRAME: "a frame or an entry of the kernel's that cannot be used"
      case KS_NOT_OWNED: "about what is the kernel's own"
      default: "unknown code"
      }
    return UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
  }
#endif
