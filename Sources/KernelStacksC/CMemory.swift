// The memory of a kernel in C: one buddy allocator and one vmalloc area, which all allocators of stacks share.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelPageFrames
  import KernelStacksCHeader
  import KernelVirtualMemory

  /// The allocators that `ks_init` makes.
  struct CMemory: ~Copyable {
    let frames: BuddyAllocator<CMachine>
    let area: VmallocArea<CMachine>

    /// The only one; `nil` before `ks_init` has succeeded.
    @inline(__always) static var current: UnsafeMutablePointer<CMemory>? {
      ks_state().pointee.memory?.assumingMemoryBound(to: CMemory.self)
    }
  }

  // Both handles exist only if `current` does: code that makes an allocator of stacks, or asks for frames, has checked it.

  /// The buddy allocator, for several allocators of stacks.
  struct CFrames: FrameSource {
    @inline(__always) private var memory: UnsafeMutablePointer<CMemory> { CMemory.current.unsafelyUnwrapped }

    @inline(__always) func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
      try memory.pointee.frames.allocate(request)
    }

    @inline(__always) func allocate(
      _ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void
    ) throws(FrameSourceError) {
      try memory.pointee.frames.allocate(request, count: count, body)
    }

    @inline(__always) func allocateTogether(
      _ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void
    ) -> FrameContents? {
      memory.pointee.frames.allocateTogether(request, count: count, body)
    }

    @inline(__always) func free(_ frame: PageFrame, order: Int) throws(FrameSourceError) {
      try memory.pointee.frames.free(frame, order: order)
    }

    @inline(__always) func node(of frame: PageFrame) -> NodeID { memory.pointee.frames.node(of: frame) }
    @inline(__always) var nodeCount: Int { memory.pointee.frames.nodeCount }
    @inline(__always) var totalFrames: Int { memory.pointee.frames.totalFrames }
  }

  /// The vmalloc area, for several allocators of stacks.
  struct CArena: StackArena {
    @inline(__always) private var memory: UnsafeMutablePointer<CMemory> { CMemory.current.unsafelyUnwrapped }

    func reserveStackArea<Frames: FrameSource & ~Copyable>(
      byteCount: Int, alignment: Int, phase: Int, frames: borrowing Frames
    ) throws(StackArenaError) -> VirtualAddress {
      try memory.pointee.area.reserveStackArea(
        byteCount: byteCount, alignment: alignment, phase: phase, frames: frames)
    }

    func releaseStackArea<Frames: FrameSource & ~Copyable>(at base: VirtualAddress, frames: borrowing Frames) {
      memory.pointee.area.releaseStackArea(at: base, frames: frames)
    }

    func leafEntry<Frames: FrameSource & ~Copyable>(
      at address: VirtualAddress, node: NodeID?, frames: borrowing Frames
    ) throws(FrameSourceError) -> PhysicalAddress {
      try memory.pointee.area.leafEntry(at: address, node: node, frames: frames)
    }

    func existingLeafEntry(at address: VirtualAddress) -> PhysicalAddress? {
      memory.pointee.area.existingLeafEntry(at: address)
    }

    func releaseTables<Frames: FrameSource & ~Copyable>(
      covering range: VirtualAddressRange, to frames: borrowing Frames
    ) -> Int {
      memory.pointee.area.releaseTables(covering: range, to: frames)
    }

    @inline(__always) func stackEntry(for frame: PageFrame) -> PageTableEntry {
      memory.pointee.area.stackEntry(for: frame)
    }
  }
#endif
