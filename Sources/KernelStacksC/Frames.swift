// ks_frames_allocate, ks_frames_free and the figures of physical memory.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelPageFrames
  import KernelStacksCHeader

  /// The node of a number from C; `nil` for the current CPU's node.
  func node(_ number: Int32, count: Int) throws(CInterfaceError) -> NodeID? {
    if number == KS_ANY_NODE { return nil }
    guard number >= 0, Int(number) < count else { throw .unknownNode(Int(number), count: count) }
    return NodeID(Int(number))
  }

  @c @implementation func ks_frames_allocate(
    _ order: UInt32, _ purpose: ks_purpose, _ cleared: Bool, _ nodeNumber: Int32,
    _ error: UnsafeMutablePointer<ks_error>!
  ) -> UInt64 {
    do throws(CInterfaceError) {
      let frames = try CMemory.ownFrames()
      let kind: FramePurpose
      switch purpose {
      case KS_USER_MEMORY: kind = .userMemory
      case KS_TASK_RECORD: kind = .taskRecord
      case KS_OTHER_USE: kind = .other
      default: throw .unknownValue("purpose", UInt(purpose.rawValue))
      }
      let request = FrameRequest(
        order: Int(order), node: try node(nodeNumber, count: frames.pointee.nodeCount), purpose: kind,
        cleared: cleared)
      do throws(FrameSourceError) {
        return UInt64(try frames.pointee.allocate(request).physicalAddress.rawValue)
      } catch .refused(let refusal) {
        // A frame may come from any freed stack; a block may need neighbours, so all are given back for it.
        if let frame = reclaimFromAllStacks(frames: order == 0 ? 1 : .max, for: request).frame {
          return UInt64(frame.physicalAddress.rawValue)
        }
        _ = report(FrameSourceError.refused(refusal), to: error)
      } catch let other { _ = report(other, to: error) }
    } catch let interfaceError { _ = report(interfaceError, to: error) }
    return 0
  }

  @c @implementation func ks_frames_free(
    _ physical: UInt64, _ order: UInt32, _ out: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    let frames: UnsafeMutablePointer<BuddyAllocator<CMachine>>
    do throws(CInterfaceError) { frames = try CMemory.ownFrames() } catch { return report(error, to: out) }
    let address = PhysicalAddress(UInt(physical))
    let frame = address.frame
    if let block = frames.pointee.usedBlock(at: frame) {
      switch block.purpose {
      case .userMemory, .taskRecord, .other: break
      default:
        return reportMisuse(
          CInterfaceError.frameInUse(address.rawValue, purpose: block.purpose), to: out)
      }
    }
    // Only the address of a frame's first byte names the frame.
    if address.rawValue & 4095 != 0 {
      return reportMisuse(CInterfaceError.innerFrame(address.rawValue), to: out)
    }
    do throws(FrameSourceError) {
      try frames.pointee.free(frame, order: Int(order))
      return KS_OK
    } catch { return reportMisuse(error, to: out) }
  }

  @c @implementation func ks_memory_figures_of(_ nodeNumber: Int32) -> ks_memory_figures {
    var figures = ks_memory_figures()
    guard let frames = CMemory.frames else { return figures }
    let count = frames.pointee.nodeCount
    var first = 0
    var end = count
    if nodeNumber != KS_ANY_NODE {
      guard nodeNumber >= 0, Int(nodeNumber) < count else { return figures }
      first = Int(nodeNumber)
      end = first &+ 1
    }
    figures.largest_free_order = -1
    for index in first..<end {
      let node = NodeID(index)
      figures.total_frames &+= UInt64(frames.pointee.totalFrames(on: node))
      figures.free_frames &+= UInt64(frames.pointee.freeFrames(on: node))
      figures.zeroed_frames &+= UInt64(frames.pointee.zeroedFrames(on: node))
      let largest = Int32(truncatingIfNeeded: frames.pointee.largestFreeOrder(on: node))
      if largest > figures.largest_free_order { figures.largest_free_order = largest }
    }
    let permille =
      end &- first == count
      ? frames.pointee.unusableFreeSpacePermille(order: 2)
      : frames.pointee.unusableFreeSpacePermille(order: 2, on: NodeID(first))
    figures.unusable_permille = UInt32(truncatingIfNeeded: permille)
    return figures
  }

  @c @implementation func ks_zero_one_frame() -> Bool {
    CMemory.frames?.pointee.zeroOneFrame() ?? false
  }

  @c @implementation func ks_frames_drain_cpu(_ cpu: UInt32) -> Int {
    CMemory.frames?.pointee.drain(cpu: Int(cpu)) ?? 0
  }

  @c @implementation func ks_write_buddyinfo(_ put: ks_put!, _ context: UnsafeMutableRawPointer!) {
    guard let frames = CMemory.frames, let put else { return }
    var sink = CPutSink(put: put, context: context)
    frames.pointee.writeBuddyInfo(to: &sink)
  }
#endif
