// The code and the figures of each error of the core.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelPageFrames
  import KernelStacksCHeader
  import KernelThreadStacks
  import KernelVirtualMemory

  extension FrameSourceError: CReportable {
    // Once, not in each error that may be one of these.
    @inline(never) var failure: CFailure {
      switch self {
      case .refused(let refusal):
        CFailure(
          KS_NO_FRAMES, requested: pageSize &<< refusal.order, available: refusal.freeFrames &<< 12,
          largest: refusal.largestFreeOrder < 0 ? 0 : pageSize &<< refusal.largestFreeOrder)
      case .invalidOrder(let order): CFailure(KS_BAD_ARGUMENT, requested: order, available: 10)
      case .unknownNode(let node): CFailure(KS_BAD_ARGUMENT, requested: node.index)
      case .foreignFrame(let frame): CFailure(KS_FOREIGN_ADDRESS, address: frame.physicalAddress.rawValue)
      case .unusableFrame(let frame): CFailure(KS_BAD_FRAME, address: frame.physicalAddress.rawValue)
      case .doubleFree(let frame): CFailure(KS_DOUBLE_FREE, address: frame.physicalAddress.rawValue)
      case .wrongOrder(let frame, let order):
        CFailure(KS_INNER_ADDRESS, address: frame.physicalAddress.rawValue, requested: pageSize &<< order)
      }
    }
  }

  extension ThreadStackError: CReportable {
    var failure: CFailure {
      switch self {
      case .configuration: CFailure(KS_BAD_CONFIGURATION)
      case .frames(let error): error.failure
      case .addressSpace(let error): error.failure
      case .refillsWait(let threads): CFailure(KS_THREADS_WAIT, available: threads)
      case .slotsExhausted(let capacity): CFailure(KS_NO_SLOTS, available: capacity)
      case .groupLimit(let refusal):
        CFailure(
          KS_GROUP_LIMIT, requested: refusal.requestedFrames &<< 12,
          available: refusal.limitFrames > refusal.chargedFrames
            ? (refusal.limitFrames &- refusal.chargedFrames) &<< 12 : 0)
      case .unknownGroup(let group): CFailure(KS_UNKNOWN_GROUP, requested: group.index)
      case .groupInUse(_, let frames): CFailure(KS_IN_USE, available: frames &<< 12)
      case .groupsExhausted(let capacity): CFailure(KS_NO_GROUPS, available: capacity)
      case .invalidGroupLimit(let frames): CFailure(KS_BAD_ARGUMENT, requested: frames)
      case .beyondStack(let requested, let available):
        CFailure(KS_BEYOND_STACK, requested: requested, available: available)
      case .reserveTooSmall(let requested, let frames):
        CFailure(KS_NO_RESERVE, requested: requested, available: frames &<< 12)
      case .foreignAddress(let address): CFailure(KS_FOREIGN_ADDRESS, address: address.rawValue)
      case .unalignedAddress(let address): CFailure(KS_INNER_ADDRESS, address: address.rawValue)
      case .notLive(let address): CFailure(KS_DOUBLE_FREE, address: address.rawValue)
      case .bootStack(let address): CFailure(KS_BOOT_STACK, address: address.rawValue)
      }
    }
  }

  extension StackArenaError: CReportable {
    var failure: CFailure {
      switch self {
      case .noAddressSpace(let requested, let largest):
        CFailure(KS_NO_ADDRESS_SPACE, requested: requested, largest: largest)
      case .frames(let error): error.failure
      }
    }
  }

  extension VmallocError: CReportable {
    var failure: CFailure {
      switch self {
      case .invalidSize(let size): CFailure(KS_BAD_ARGUMENT, requested: size)
      case .oversized(let requested, let total):
        CFailure(KS_NO_FRAMES, requested: requested, available: total)
      case .invalidAlignment(let alignment): CFailure(KS_BAD_ARGUMENT, requested: alignment)
      case .invalidGuard(let size): CFailure(KS_BAD_ARGUMENT, requested: size)
      case .unknownNode(let node, let count):
        CFailure(KS_BAD_ARGUMENT, requested: node.index, available: count)
      case .noAddressSpace(let requested, _, let largest):
        CFailure(KS_NO_ADDRESS_SPACE, requested: requested, largest: largest)
      case .occupied(let address): CFailure(KS_OCCUPIED, address: address.rawValue)
      case .frames(let error): error.failure
      case .foreignAddress(let address): CFailure(KS_FOREIGN_ADDRESS, address: address.rawValue)
      case .notTheStart(let address, _): CFailure(KS_INNER_ADDRESS, address: address.rawValue)
      case .doubleFree(let address): CFailure(KS_DOUBLE_FREE, address: address.rawValue)
      case .stackArena(let address): CFailure(KS_FOREIGN_ADDRESS, address: address.rawValue)
      }
    }
  }

  extension TranslationError: CReportable {
    var failure: CFailure {
      switch self {
      case .misaligned(let address), .outsideSpace(let address):
        CFailure(KS_BAD_ARGUMENT, address: address.rawValue)
      case .misalignedMemory(let address): CFailure(KS_BAD_ARGUMENT, address: address.rawValue)
      case .occupied(let address): CFailure(KS_OCCUPIED, address: address.rawValue)
      case .frames(let error): error.failure
      }
    }
  }

  extension PhysicalMemoryError: CReportable {
    var failure: CFailure {
      switch self {
      case .emptyRange(let start, let bytes), .smallerThanFrame(let start, let bytes),
        .outsideAddressSpace(let start, let bytes):
        CFailure(KS_BAD_MEMORY, address: start.rawValue, requested: bytes)
      case .overlappingMemory(let start, _): CFailure(KS_BAD_MEMORY, address: start.rawValue)
      case .invalidNode(let node, let limit):
        CFailure(KS_BAD_MEMORY, requested: node.index, available: limit)
      case .tooManyMemoryRanges(let limit), .tooManyReservedRanges(let limit):
        CFailure(KS_BAD_MEMORY, available: limit)
      case .noUsableMemory: CFailure(KS_NO_FRAMES)
      case .metadataTooSmall(let needed, let given):
        CFailure(KS_NO_FRAMES, requested: needed, available: given)
      case .invalidCPUCount(let count, let limit):
        CFailure(KS_BAD_ARGUMENT, requested: count, available: limit)
      case .tooManyFrames(let count): CFailure(KS_BAD_MEMORY, requested: count)
      }
    }
  }

  extension MemoryChangeError: CReportable {
    var failure: CFailure {
      switch self {
      case .notWholeFrames(let start): CFailure(KS_BAD_ARGUMENT, address: start.rawValue)
      case .outsideMemory(let address), .notReserved(let address), .reserved(let address):
        CFailure(KS_BAD_MEMORY, address: address.rawValue)
      case .inUse(let frame): CFailure(KS_IN_USE, address: frame.rawValue)
      case .changing: CFailure(KS_IN_USE)
      }
    }
  }
#endif
