// The kernel's functions as sources of frames and addresses: what they give is looked at before it is used.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelStacksCHeader

  extension ks_frame_source {
    /// The kernel's page allocator, which has single frames.
    static func kernel(nodeCount: Int) -> ks_frame_source {
      ks_frame_source(
        allocate: { order, node, _, cleared, maySleep in
          // Blocks are for records, for which the kernel gives memory, and for linear stacks, which it has none of.
          order == 0 ? takeKernelFrame(node: node, cleared: cleared, maySleep: maySleep) : 0
        },
        allocate_together: nil,
        release: { physical, _ in
          giveKernelFrame(physical)
          return true
        },
        node_of: { physical in
          guard let function = kernelFrames.node_of else { return 0 }
          let node = function(kernelFrames.context, physical)
          // An array's index: what is out of bounds counts as the first.
          return node >= 0 && node < Int32(kernelFrames.node_count) ? node : 0
        },
        total: { kernelFrames.total?(kernelFrames.context) ?? UInt64(Int.max) },
        free_count: { freeKernelFrames() },
        largest_free_order: { freeKernelFrames() == 0 ? -1 : 0 },
        linear_block: nil,
        node_count: UInt64(nodeCount))
    }
  }

  var kernelFrames: ks_frame_functions {
    @inline(__always) _read { yield ks_state().pointee.kernel_frames }
  }

  private func freeKernelFrames() -> UInt64 {
    guard let function = kernelFrames.free_count else { return 0 }
    return function(kernelFrames.context)
  }

  /// Asks the kernel for a frame; 0 if it has none, and an odd address, which has been reported, if what it gives is none.
  private func takeKernelFrame(node: Int32, cleared: Bool, maySleep: Bool) -> UInt64 {
    let leavesClearing = kernelFrames.leaves_clearing
    let physical = kernelFrames.allocate(kernelFrames.context, node, cleared && !leavesClearing, maySleep)
    if physical == 0 { return 0 }
    if let mistake = mistake(inFrame: physical, cleared: cleared && !leavesClearing) {
      _ = reportMisuse(mistake, to: nil)
      return physical & ~4095 | 1
    }
    if cleared, leavesClearing {
      CMachine().clear(VirtualAddress(UInt(physical) &+ CMachine().linearMapOffset), byteCount: pageSize)
    }
    return physical
  }

  private func giveKernelFrame(_ physical: UInt64) {
    #if CHECKED_FUNCTIONS
      FrameSet.remove(physical)
    #endif
    kernelFrames.free(kernelFrames.context, physical)
  }

  /// What is wrong with a frame that the kernel gave, if anything; one that is a frame, and in use nowhere else, goes back.
  private func mistake(inFrame physical: UInt64, cleared: Bool) -> CInterfaceError? {
    guard isFrame(physical) else { return .notAFrame(UInt(physical)) }
    #if CHECKED_FUNCTIONS
      guard ks_translate_for_writing(UInt(physical) &+ CMachine().linearMapOffset) == physical else {
        return .notInLinearMap(UInt(physical))
      }
      guard FrameSet.insert(physical) else { return .frameTwice(UInt(physical)) }
      if cleared, !isZero(physical) {
        giveKernelFrame(physical)
        return .frameNotCleared(UInt(physical))
      }
    #endif
    return nil
  }

  func isFrame(_ physical: UInt64) -> Bool { physical != 0 && physical & 4095 == 0 && physical &>> 48 == 0 }

  /// Whether a frame is zero in every byte, or a table without an entry.
  func isZero(_ physical: UInt64) -> Bool {
    let words = CMachine().pointer(to: PhysicalAddress(UInt(physical))).assumingMemoryBound(to: UInt64.self)
    var index = 0
    while index < 512, words[index] == 0 { index &+= 1 }
    return index == 512
  }

  // MARK: Addresses

  extension ks_address_source {
    /// The kernel's address space and tables.
    static var kernel: ks_address_source {
      ks_address_source(
        reserve: { size, alignment, phase, largest in
          largest.pointee = 0
          let base = UInt(kernelAddresses.reserve(kernelAddresses.context, size, alignment, phase))
          if base == 0 { return 0 }
          let lowest = UInt.max &<< UInt(bitPattern: CMachine().virtualAddressBits)
          guard (base &- UInt(bitPattern: phase)) & UInt(bitPattern: alignment &- 1) == 0, base >= lowest,
            base <= UInt.max &- UInt(bitPattern: size)
          else {
            _ = reportMisuse(CInterfaceError.unfitAddresses(base), to: nil)
            kernelAddresses.release?(kernelAddresses.context, base)
            return 0
          }
          return UInt64(base)
        },
        release: { address in kernelAddresses.release?(kernelAddresses.context, UInt(address)) },
        entry: { address, node in
          let entry = kernelAddresses.entry(kernelAddresses.context, UInt(address), node)
          if entry == 0 { return 0 }
          // Entries lie in the order of their pages: bits 20:12 of the address are bits 11:3 of the entry's.
          guard entry & 4095 == address &>> 9 & 0xff8, isFrame(entry & ~4095), isZero(entry & ~4095) else {
            _ = reportMisuse(CInterfaceError.unfitEntry(UInt(entry), of: UInt(address)), to: nil)
            return entry & ~4095 | 1
          }
          return entry
        },
        release_tables: { start, size in
          kernelAddresses.free_tables?(kernelAddresses.context, UInt(start), size) ?? 0
        })
    }
  }

  private var kernelAddresses: ks_address_functions {
    @inline(__always) _read { yield ks_state().pointee.kernel_addresses }
  }
#endif
