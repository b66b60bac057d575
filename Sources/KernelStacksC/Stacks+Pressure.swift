// Freed stacks under memory pressure, over time and on CPUs that stop; and the figures of stacks.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelStacksCHeader
  import KernelThreadStacks

  @c @implementation func ks_stacks_reclaim(_ handle: CStacksHandle, _ frames: Int) -> Int {
    freeLeftStack()
    // C's SIZE_MAX is -1 here.
    return allocator(handle)?.pointee.reclaim(target: frames < 0 ? .max : frames) ?? 0
  }

  @c @implementation func ks_reclaim(_ frames: Int) -> Int {
    if frames == 0 || !CMemory.isInitialized { return 0 }
    return reclaimFromAllStacks(frames: frames < 0 ? .max : frames).given
  }

  @c @implementation func ks_stacks_serve_reclaim(_ handle: CStacksHandle) -> Int {
    freeLeftStack()
    return allocator(handle)?.pointee.serviceReclaimRequest() ?? 0
  }

  @c @implementation func ks_stacks_age(_ handle: CStacksHandle) -> Int {
    freeLeftStack()
    return allocator(handle)?.pointee.age() ?? 0
  }

  @c @implementation func ks_stacks_drain_cpu(_ handle: CStacksHandle, _ cpu: UInt32) -> Int {
    guard let stacks = allocator(handle), Int(cpu) < CMachine().cpuCount else { return 0 }
    freeLeftStack(ofCPU: Int(cpu))
    return stacks.pointee.reclaim(fromStoppedCPU: Int(cpu))
  }

  @c @implementation func ks_stacks_figures(_ handle: CStacksHandle) -> ks_stack_figures {
    var figures = ks_stack_figures()
    guard let stacks = allocator(handle) else { return figures }
    figures.live = UInt64(bitPattern: Int64(stacks.pointee.liveStackCount))
    figures.cached = UInt64(stacks.pointee.cachedStackCount)
    figures.retired = UInt64(stacks.pointee.retiredStackCount)
    figures.used_slots = UInt64(stacks.pointee.usedSlotCount)
    figures.capacity = UInt64(stacks.pointee.capacity)
    figures.made = UInt64(stacks.pointee.coldAllocationCount)
    figures.unmapped = UInt64(stacks.pointee.overflowCount)
    figures.lost = UInt64(stacks.pointee.lostStackCount)
    figures.reserved_frames = UInt64(stacks.pointee.reservedFrameCount)
    figures.grown_pages = UInt64(stacks.pointee.grownPageCount)
    figures.record_bytes = UInt64(stacks.pointee.metadataByteCount)
    return figures
  }

  @c @implementation func ks_stacks_kib(_ handle: CStacksHandle, _ nodeNumber: Int32) -> UInt64 {
    guard let stacks = allocator(handle) else { return 0 }
    if nodeNumber != KS_ANY_NODE {
      return UInt64(bitPattern: Int64(stacks.pointee.kernelStackKiB(on: NodeID(Int(nodeNumber)))))
    }
    var sum = 0
    for node in 0..<CFrames().nodeCount { sum &+= stacks.pointee.kernelStackKiB(on: NodeID(node)) }
    return UInt64(bitPattern: Int64(sum))
  }

  @c @implementation func ks_write_stacks(
    _ handle: CStacksHandle, _ put: ks_put!, _ context: UnsafeMutableRawPointer!
  ) {
    guard let stacks = allocator(handle), let put else { return }
    var sink = CPutSink(put: put, context: context)
    stacks.pointee.writeReport(to: &sink)
  }
#endif
