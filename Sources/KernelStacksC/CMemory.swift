// Where a kernel in C has its frames and its addresses of stacks from: one source of each, which all allocators of stacks share.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelPageFrames
  import KernelStacksCHeader
  import KernelVirtualMemory

  /// The library's own allocators, if the kernel uses them.
  enum CMemory {
    /// Whether one of the functions that initialize the library has succeeded.
    @inline(__always) static var isInitialized: Bool { ks_state().pointee.is_initialized != 0 }

    /// The buddy allocator; `nil` before `ks_init`, and if frames are the kernel's.
    @inline(__always) static var frames: UnsafeMutablePointer<BuddyAllocator<CMachine>>? {
      ks_state().pointee.buddy?.assumingMemoryBound(to: BuddyAllocator<CMachine>.self)
    }

    /// The vmalloc area; `nil` before it is made, and if addresses are the kernel's.
    @inline(__always) static var area: UnsafeMutablePointer<VmallocArea<CMachine>>? {
      ks_state().pointee.area?.assumingMemoryBound(to: VmallocArea<CMachine>.self)
    }

    /// The buddy allocator, for calls that are about it.
    static func ownFrames() throws(CInterfaceError) -> UnsafeMutablePointer<BuddyAllocator<CMachine>> {
      guard isInitialized else { throw .notInitialized }
      guard let frames else { throw .kernelFrames }
      return frames
    }

    /// The vmalloc area, for calls that are about it.
    static func ownArea() throws(CInterfaceError) -> UnsafeMutablePointer<VmallocArea<CMachine>> {
      guard isInitialized else { throw .notInitialized }
      guard let area else { throw .kernelAddresses }
      return area
    }
  }

  // Both handles exist only once the library is initialized: code that makes an allocator of stacks, or asks for frames, has
  // checked it.

  /// The frames of the library or the kernel, for several allocators of stacks and the vmalloc area.
  struct CFrames: FrameSource {
    @inline(__always) private var source: UnsafeMutablePointer<ks_frame_source> { ks_frames() }

    func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
      try allocate(request, maySleep: true)
    }

    func allocateWithoutWaiting(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
      try allocate(request, maySleep: false)
    }

    @inline(never)
    private func allocate(_ request: FrameRequest, maySleep: Bool) throws(FrameSourceError) -> PageFrame {
      let address = source.pointee.allocate.unsafelyUnwrapped(
        UInt32(truncatingIfNeeded: request.order), nodeNumber(request.node), UInt32(request.purpose.rawValue),
        request.cleared, maySleep)
      guard address & 1 == 0 else { throw .unusableFrame(PhysicalAddress(UInt(address)).frame) }
      guard address != 0 else {
        throw .refused(
          FrameRefusal(
            order: request.order, purpose: request.purpose,
            freeFrames: Int(truncatingIfNeeded: source.pointee.free_count.unsafelyUnwrapped()),
            largestFreeOrder: Int(source.pointee.largest_free_order.unsafelyUnwrapped())))
      }
      return PhysicalAddress(UInt(address)).frame
    }

    func allocateTogether(
      _ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void
    ) -> FrameContents? {
      guard count <= Int(KS_MOST_TOGETHER), let together = source.pointee.allocate_together else { return nil }
      var taken = InlineArray<8, UInt64>(repeating: 0)
      let contents = withUnsafeMutableBytes(of: &taken) { bytes in
        together(
          bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt64.self), count, request.cleared)
      }
      guard contents != 0 else { return nil }
      for index in 0..<count { body(PhysicalAddress(UInt(taken[index])).frame) }
      return contents == 1 ? .zeroed : .unknown
    }

    func free(_ frame: PageFrame, order: Int) throws(FrameSourceError) {
      let isFree = source.pointee.release.unsafelyUnwrapped(
        UInt64(frame.physicalAddress.rawValue), UInt32(truncatingIfNeeded: order))
      guard isFree else { throw .doubleFree(frame) }
    }

    func node(of frame: PageFrame) -> NodeID {
      NodeID(Int(source.pointee.node_of.unsafelyUnwrapped(UInt64(frame.physicalAddress.rawValue))))
    }

    @inline(__always) var nodeCount: Int { Int(truncatingIfNeeded: source.pointee.node_count) }
    var totalFrames: Int { Int(truncatingIfNeeded: source.pointee.total.unsafelyUnwrapped()) }
  }

  /// Frames for code that holds a lock meanwhile.
  struct CFramesWithoutWaiting: FrameSource {
    func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
      try CFrames().allocateWithoutWaiting(request)
    }
    func free(_ frame: PageFrame, order: Int) throws(FrameSourceError) {
      try CFrames().free(frame, order: order)
    }
    func node(of frame: PageFrame) -> NodeID { CFrames().node(of: frame) }
    var nodeCount: Int { CFrames().nodeCount }
    var totalFrames: Int { CFrames().totalFrames }
  }

  /// A node as the functions have it; KS_ANY_NODE for the current CPU's.
  @inline(__always) func nodeNumber(_ node: NodeID?) -> Int32 {
    node.map { Int32(truncatingIfNeeded: $0.index) } ?? KS_ANY_NODE
  }

  /// The addresses of the library or the kernel, for several allocators of stacks.
  struct CArena: StackArena {
    @inline(__always) private var source: UnsafeMutablePointer<ks_address_source> { ks_addresses() }

    func reserveStackArea<Frames: FrameSource & ~Copyable>(
      byteCount: Int, alignment: Int, phase: Int, frames: borrowing Frames
    ) throws(StackArenaError) -> VirtualAddress {
      var largest = 0
      let address = source.pointee.reserve.unsafelyUnwrapped(byteCount, alignment, phase, &largest)
      guard address != 0 else {
        // SIZE_MAX is -1 here.
        if largest < 0 { throw .frames(refusal(of: .metadata)) }
        throw .noAddressSpace(requestedBytes: byteCount, largestGapBytes: largest)
      }
      return VirtualAddress(UInt(address))
    }

    func releaseStackArea<Frames: FrameSource & ~Copyable>(at base: VirtualAddress, frames: borrowing Frames) {
      source.pointee.release.unsafelyUnwrapped(UInt64(base.rawValue))
    }

    func leafEntry<Frames: FrameSource & ~Copyable>(
      at address: VirtualAddress, node: NodeID?, frames: borrowing Frames
    ) throws(FrameSourceError) -> PhysicalAddress {
      let entry = source.pointee.entry.unsafelyUnwrapped(UInt64(address.rawValue), nodeNumber(node))
      guard entry & 1 == 0 else { throw .unusableFrame(PhysicalAddress(UInt(entry)).frame) }
      guard entry != 0 else { throw refusal(of: .pageTable) }
      return PhysicalAddress(UInt(entry))
    }

    /// Not asked: the allocator remembers where its entries are.
    func existingLeafEntry(at address: VirtualAddress) -> PhysicalAddress? { nil }

    func releaseTables<Frames: FrameSource & ~Copyable>(
      covering range: VirtualAddressRange, to frames: borrowing Frames
    ) -> Int {
      source.pointee.release_tables.unsafelyUnwrapped(UInt64(range.lowerBound.rawValue), range.byteCount)
    }

    @inline(__always) func stackEntry(for frame: PageFrame) -> PageTableEntry {
      .page(frame, .kernelReadWrite, indices: CMachine().memoryAttributes)
    }

    private func refusal(of purpose: FramePurpose) -> FrameSourceError {
      .refused(
        FrameRefusal(
          order: 0, purpose: purpose,
          freeFrames: Int(truncatingIfNeeded: ks_frames().pointee.free_count.unsafelyUnwrapped()),
          largestFreeOrder: Int(ks_frames().pointee.largest_free_order.unsafelyUnwrapped())))
    }
  }
#endif
