// The library's own frames and addresses as sources: the buddy allocator and the vmalloc area, behind functions that only what
// initializes them names.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelPageFrames
  import KernelStacksCHeader
  import KernelVirtualMemory

  extension ks_frame_source {
    /// The buddy allocator, which has been made.
    static func ownFrames(nodeCount: Int) -> ks_frame_source {
      ks_frame_source(
        allocate: { order, node, purpose, cleared, _ in
          let request = FrameRequest(
            order: Int(order), node: node < 0 ? nil : NodeID(Int(node)),
            purpose: FramePurpose(rawValue: UInt8(truncatingIfNeeded: purpose)).unsafelyUnwrapped,
            cleared: cleared)
          do throws(FrameSourceError) {
            return UInt64(try buddy.pointee.allocate(request).physicalAddress.rawValue)
          } catch { return 0 }
        },
        allocate_together: { frames, count, cleared in
          var next = frames
          let contents = buddy.pointee.allocateTogether(
            FrameRequest(purpose: .threadStack, cleared: cleared), count: count
          ) { frame in
            next.pointee = UInt64(frame.physicalAddress.rawValue)
            next += 1
          }
          guard let contents else { return 0 }
          return contents == .zeroed ? 1 : 2
        },
        release: { physical, order in
          do throws(FrameSourceError) {
            try buddy.pointee.free(PhysicalAddress(UInt(physical)).frame, order: Int(order))
            return true
          } catch { return false }
        },
        node_of: { physical in
          Int32(truncatingIfNeeded: buddy.pointee.node(of: PhysicalAddress(UInt(physical)).frame).index)
        },
        total: { UInt64(buddy.pointee.totalFrames) },
        free_count: { UInt64(buddy.pointee.freeFrames) },
        largest_free_order: { Int32(truncatingIfNeeded: buddy.pointee.largestFreeOrder) },
        linear_block: { physical, size in
          let frame = PhysicalAddress(UInt(physical)).frame
          let isAligned = physical & UInt64(size &- 1) == 0
          if isAligned, let block = buddy.pointee.usedBlock(at: frame), block.purpose == .threadStack,
            pageSize &<< block.order == size
          {
            return KS_BLOCK_IS_STACK
          }
          switch buddy.pointee.owner(of: frame) {
          case .free: return isAligned ? KS_BLOCK_IS_FREE : KS_BLOCK_IS_FOREIGN
          case .used(.threadStack) where !isAligned: return KS_BLOCK_IS_IN_STACK
          default: return KS_BLOCK_IS_FOREIGN
          }
        },
        node_count: UInt64(nodeCount))
    }
  }

  private var buddy: UnsafeMutablePointer<BuddyAllocator<CMachine>> { CMemory.frames.unsafelyUnwrapped }

  extension ks_address_source {
    /// The vmalloc area, which has been made.
    static var ownArea: ks_address_source {
      ks_address_source(
        reserve: { size, alignment, phase, largest in
          do throws(StackArenaError) {
            let address = try area.pointee.reserveStackArea(
              byteCount: size, alignment: alignment, phase: phase, frames: CFrames())
            return UInt64(address.rawValue)
          } catch .noAddressSpace(_, let gap) {
            largest.pointee = gap
          } catch { largest.pointee = -1 }
          return 0
        },
        release: { address in
          area.pointee.releaseStackArea(at: VirtualAddress(UInt(address)), frames: CFrames())
        },
        entry: { address, node in
          do throws(FrameSourceError) {
            return UInt64(
              try area.pointee.leafEntry(
                at: VirtualAddress(UInt(address)), node: node < 0 ? nil : NodeID(Int(node)), frames: CFrames()
              ).rawValue)
          } catch {
            switch error {
            case .foreignFrame(let frame), .unusableFrame(let frame):
              return UInt64(frame.physicalAddress.rawValue) | 1
            default: return 0
            }
          }
        },
        release_tables: { start, size in
          area.pointee.releaseTables(
            covering: VirtualAddressRange(VirtualAddress(UInt(start)), byteCount: size), to: CFrames())
        })
    }
  }

  private var area: UnsafeMutablePointer<VmallocArea<CMachine>> { CMemory.area.unsafelyUnwrapped }

  /// Makes the vmalloc area, which takes no memory yet.
  ///
  /// Why this use of memory is sound: (1) the handle fits, by the check; (2) it is made once, before other CPUs use it.
  func makeArea(_ range: Range<UInt>) {
    precondition(MemoryLayout<VmallocArea<CMachine>>.size <= Int(KS_AREA_BYTES))
    let handle = ks_area_handle()
    handle.assumingMemoryBound(to: VmallocArea<CMachine>.self).initialize(
      to: VmallocArea(range, machine: CMachine()))
    ks_state().pointee.area = handle
    ks_state().pointee.addresses = .ownArea
  }
#endif
