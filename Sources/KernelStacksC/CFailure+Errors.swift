// The code and the figures of each error of the core.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelPageFrames
  import KernelStacksCHeader
  import KernelThreadStacks
  import KernelVirtualMemory

  extension FrameSourceError: CReportable {
    var failure: CFailure {
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

  /// Mistakes that only a caller from C can make.
  enum CInterfaceError: Error, CReportable {
    case notInitialized
    case alreadyInitialized
    case nullArgument(StaticString)
    case stacksNotMade
    case stacksMade
    case stacksInUse(Int)
    case secondLinearAllocator
    case tooManyAllocators
    case sizeCount(Int)
    case sizeOrder(Int)
    case stackSize(Int, largest: Int)
    case stacksReclaimed
    case unknownStrategy(UInt)
    case unknownNode(Int, count: Int)
    case unknownValue(StaticString, UInt)
    case granule(field: UInt)
    case addressBits(Int)
    case unfitRegister(StaticString)
    case noNormalMemory(UInt)
    case noDeviceMemory
    case cpuNumber(Int, count: Int)
    case differentRegisters(StaticString)
    case cannotLend(StaticString)
    case notInLinearMap(UInt)
    case vmallocRange(UInt, UInt)
    case vmallocEntry(UInt)
    case linearMapInVmalloc(UInt)
    case noRoomForRecords(Int)
    case runningStack(UInt)
    case notAStack(UInt)
    case frameInUse(UInt, purpose: FramePurpose)
    case innerFrame(UInt)
    case noDirtyState
    case mappingInVmalloc(UInt)
    case foreignTable(UInt)
    case notMapped(UInt)
    case kernelFrames
    case kernelAddresses
    case nodeCount(Int)
    case frameCount(UInt64)
    case noKernelFrame
    case notAFrame(UInt)
    case frameNotCleared(UInt)
    case frameTwice(UInt)
    case unalignedRecords(UInt)
    case unfitAddresses(UInt)
    case unfitEntry(UInt, of: UInt)

    var failure: CFailure {
      switch self {
      case .notInitialized, .stacksNotMade: CFailure(KS_NOT_INITIALIZED)
      case .alreadyInitialized, .stacksMade: CFailure(KS_ALREADY_INITIALIZED)
      case .nullArgument: CFailure(KS_BAD_ARGUMENT)
      case .stacksInUse(let count): CFailure(KS_IN_USE, available: count)
      case .secondLinearAllocator: CFailure(KS_BAD_CONFIGURATION)
      case .tooManyAllocators: CFailure(KS_NO_ALLOCATORS, available: Int(KS_MOST_ALLOCATORS))
      case .stacksReclaimed: CFailure(KS_IN_USE)
      case .sizeCount(let count):
        CFailure(KS_BAD_CONFIGURATION, requested: count, available: Int(KS_MOST_SIZES))
      case .sizeOrder(let size): CFailure(KS_BAD_CONFIGURATION, requested: size)
      case .stackSize(let size, let largest):
        CFailure(KS_BAD_ARGUMENT, requested: size, available: largest, largest: largest)
      case .unknownStrategy(let value), .unknownValue(_, let value):
        CFailure(KS_BAD_ARGUMENT, requested: Int(bitPattern: value))
      case .unknownNode(let node, let count): CFailure(KS_BAD_ARGUMENT, requested: node, available: count)
      case .granule(let field): CFailure(KS_BAD_MACHINE, requested: Int(bitPattern: field))
      case .addressBits(let bits): CFailure(KS_BAD_MACHINE, requested: bits)
      case .unfitRegister, .noNormalMemory, .noDeviceMemory: CFailure(KS_BAD_MACHINE)
      case .cpuNumber(let cpu, let count): CFailure(KS_BAD_MACHINE, requested: cpu, available: count)
      case .differentRegisters: CFailure(KS_BAD_MACHINE)
      case .cannotLend: CFailure(KS_CANNOT_LEND)
      case .notInLinearMap(let address), .vmallocRange(let address, _), .linearMapInVmalloc(let address):
        CFailure(KS_BAD_MACHINE, address: address)
      case .vmallocEntry(let address), .foreignTable(let address): CFailure(KS_OCCUPIED, address: address)
      case .noRoomForRecords(let bytes): CFailure(KS_NO_FRAMES, requested: bytes)
      case .runningStack(let address): CFailure(KS_RUNNING_STACK, address: address)
      case .notAStack(let address): CFailure(KS_FOREIGN_ADDRESS, address: address)
      case .innerFrame(let address): CFailure(KS_INNER_ADDRESS, address: address)
      case .noDirtyState: CFailure(KS_BAD_MACHINE)
      case .frameInUse(let address, _): CFailure(KS_FOREIGN_ADDRESS, address: address)
      case .notMapped(let address): CFailure(KS_FOREIGN_ADDRESS, address: address)
      case .mappingInVmalloc(let address), .unalignedRecords(let address):
        CFailure(KS_BAD_ARGUMENT, address: address)
      case .kernelFrames, .kernelAddresses: CFailure(KS_NOT_OWNED)
      case .nodeCount(let count): CFailure(KS_BAD_ARGUMENT, requested: count, available: 64)
      case .frameCount(let count): CFailure(KS_BAD_ARGUMENT, requested: Int(truncatingIfNeeded: count))
      case .noKernelFrame: CFailure(KS_NO_FRAMES, requested: pageSize)
      case .notAFrame(let address), .frameNotCleared(let address), .frameTwice(let address),
        .unfitAddresses(let address), .unfitEntry(let address, _):
        CFailure(KS_BAD_FRAME, address: address)
      }
    }

    func write<Sink: TextSink>(to sink: inout Sink) {
      switch self {
      case .notInitialized: sink.write("ks_init has not been called, or has failed")
      case .alreadyInitialized: sink.write("ks_init has succeeded before: there is one memory")
      case .nullArgument(let name):
        sink.write("%s is null", sink.address(ofText: name))
      case .stacksNotMade: sink.write("ks_stacks_make has not been called for these stacks, or has failed")
      case .stacksMade: sink.write("these stacks have been made already, or the handle was not zero")
      case .stacksInUse(let count): sink.write("%d stacks are still in use", count)
      case .secondLinearAllocator:
        sink.write("there is an allocator of linear stacks: two could not tell theirs apart")
      case .tooManyAllocators:
        sink.write("there are %d allocators of stacks already", Int(KS_MOST_ALLOCATORS))
      case .sizeCount(let count):
        sink.write("%d sizes of stacks are outside 1…%d", count, Int(KS_MOST_SIZES))
      case .sizeOrder(let size): sink.write("%d bytes are not more than the size before: sizes ascend", size)
      case .stackSize(let size, let largest):
        sink.write("no stack has %d bytes: sizes are 1…%d", size, largest)
      case .stacksReclaimed: sink.write("freed stacks are being taken back by ks_frames_allocate")
      case .unknownStrategy(let value): sink.write("there is no strategy %d", value)
      case .unknownNode(let node, let count): sink.write("there is no NUMA node %d: there are %d", node, count)
      case .unknownValue(let name, let value):
        sink.write("there is no %s %d", sink.address(ofText: name), value)
      case .granule(let field):
        sink.write("TCR_EL1.TG1 is %d, not 2: kernel pages have to be 4 KiB", field)
      case .addressBits(let bits):
        sink.write("TCR_EL1.T1SZ gives %d address bits: only 39 and 48 are supported", bits)
      case .unfitRegister(let reason): sink.write("%s", sink.address(ofText: reason))
      case .noNormalMemory(let attributes):
        sink.write("MAIR_EL1 is %x: none of its attributes is 0xff, of write-back memory", attributes)
      case .noDeviceMemory: sink.write("no attribute of MAIR_EL1 is 0x04 or 0x00, of device memory")
      case .cpuNumber(let cpu, let count):
        sink.write("ks_machine_cpu says %d, and there are %d CPUs", cpu, count)
      case .differentRegisters(let name):
        sink.write("this CPU's %s is not the first CPU's", sink.address(ofText: name))
      case .cannotLend(let reason):
        sink.write("pages cannot be lent: %s", sink.address(ofText: reason))
      case .notInLinearMap(let address):
        sink.write("physical address %x is not writable where the linear map should have it", address)
      case .vmallocRange(let start, let end):
        sink.write("the vmalloc area %x..<%x is no range of kernel addresses", start, end)
      case .vmallocEntry(let address):
        sink.write("the root table has an entry for %x already, in the vmalloc area", address)
      case .linearMapInVmalloc(let address):
        sink.write("the linear map reaches into the vmalloc area at %x", address)
      case .noRoomForRecords(let bytes):
        sink.write("no unreserved memory has room for %b of records", bytes)
      case .runningStack(let address):
        sink.write("the stack at %x is the one that the caller runs on", address)
      case .notAStack(let address): sink.write("%x lies in no stack of this allocator", address)
      case .frameInUse(let address, let purpose):
        sink.write(
          "physical address %x is in use for %s, and not the caller's to free", address,
          sink.address(ofText: purpose.name))
      case .innerFrame(let address):
        sink.write("physical address %x is not the first byte of a frame", address)
      case .noDirtyState: sink.write("TCR_EL1.HA and HD are not set: no dirty state is kept")
      case .mappingInVmalloc(let address): sink.write("%x shares a root entry with the vmalloc area", address)
      case .foreignTable(let address): sink.write("the root entry for %x was not made by ks_map", address)
      case .notMapped(let address): sink.write("nothing is mapped at %x", address)
      case .kernelFrames: sink.write("page frames are the kernel's own")
      case .kernelAddresses: sink.write("addresses and page tables are the kernel's own")
      case .nodeCount(let count): sink.write("%d NUMA nodes are outside 1…64", count)
      case .frameCount(let count):
        sink.write("the kernel counts %d page frames: 1 to 2^36 can be named", UInt(count))
      case .noKernelFrame: sink.write("the kernel's function has no frame to give")
      case .notAFrame(let address):
        sink.write("the kernel's function gave %x, which is no frame's physical address", address)
      case .frameNotCleared(let address):
        sink.write("the kernel's function gave the frame at %x as cleared, and it is not zero", address)
      case .frameTwice(let address):
        sink.write("the kernel's function gave the frame at %x a second time, and it is in use", address)
      case .unalignedRecords(let address): sink.write("the CPUs' records at %x are not aligned to 8", address)
      case .unfitAddresses(let address):
        sink.write(
          "the kernel's function reserved %x, which is no kernel address, or not aligned as asked", address)
      case .unfitEntry(let entry, let address):
        sink.write(
          "the kernel's function gave %x as the entry of %x, which is none, or one of a table in use", entry,
          address)
      }
    }
  }
#endif
