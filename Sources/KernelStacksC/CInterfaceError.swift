// Mistakes that only a caller from C can make. Each is a line of three tables, and two words: so there is little code for each.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelPageFrames
  import KernelStacksCHeader

  /// A mistake that only a caller from C can make, or the kernel's functions.
  struct CInterfaceError: Error, CReportable {
    private enum Kind: UInt8 {
      case notInitialized, alreadyInitialized, nullArgument, stacksNotMade, stacksMade, stacksInUse,
        secondLinearAllocator, tooManyAllocators, sizeCount, sizeOrder, stackSize, stacksReclaimed,
        unknownStrategy, unknownNode, unknownValue, granule, addressBits, unfitRegister, noNormalMemory,
        noDeviceMemory, cpuNumber, differentRegisters, cannotLend, notInLinearMap, vmallocRange,
        vmallocEntry, linearMapInVmalloc, noRoomForRecords, runningStack, notAStack, frameInUse, innerFrame,
        noDirtyState, mappingInVmalloc, foreignTable, notMapped, kernelFrames, kernelAddresses, nodeCount,
        frameCount, noKernelFrame, notAFrame, frameNotCleared, frameTwice, unalignedRecords, unfitAddresses,
        unfitEntry
    }

    private let kind: Kind
    // What the marks of the text stand for, names as their addresses.
    private let first: UInt
    private let second: UInt

    @inline(__always) private init(_ kind: Kind, _ first: UInt = 0, _ second: UInt = 0) {
      self.kind = kind
      self.first = first
      self.second = second
    }

    @inline(__always) private static func place(of text: StaticString) -> UInt {
      UInt(bitPattern: text.utf8Start)
    }

    static var notInitialized: Self { Self(.notInitialized) }
    static var alreadyInitialized: Self { Self(.alreadyInitialized) }
    static func nullArgument(_ name: StaticString) -> Self { Self(.nullArgument, place(of: name)) }
    static var stacksNotMade: Self { Self(.stacksNotMade) }
    static var stacksMade: Self { Self(.stacksMade) }
    static func stacksInUse(_ count: Int) -> Self { Self(.stacksInUse, UInt(bitPattern: count)) }
    static var secondLinearAllocator: Self { Self(.secondLinearAllocator) }
    static var tooManyAllocators: Self { Self(.tooManyAllocators, UInt(KS_MOST_ALLOCATORS)) }
    static func sizeCount(_ count: Int) -> Self {
      Self(.sizeCount, UInt(bitPattern: count), UInt(KS_MOST_SIZES))
    }
    static func sizeOrder(_ size: Int) -> Self { Self(.sizeOrder, UInt(bitPattern: size)) }
    static func stackSize(_ size: Int, largest: Int) -> Self {
      Self(.stackSize, UInt(bitPattern: size), UInt(bitPattern: largest))
    }
    static var stacksReclaimed: Self { Self(.stacksReclaimed) }
    static func unknownStrategy(_ value: UInt) -> Self { Self(.unknownStrategy, value) }
    static func unknownNode(_ node: Int, count: Int) -> Self {
      Self(.unknownNode, UInt(bitPattern: node), UInt(bitPattern: count))
    }
    static func unknownValue(_ name: StaticString, _ value: UInt) -> Self {
      Self(.unknownValue, place(of: name), value)
    }
    static func granule(field: UInt) -> Self { Self(.granule, field) }
    static func addressBits(_ bits: Int) -> Self { Self(.addressBits, UInt(bitPattern: bits)) }
    static func unfitRegister(_ reason: StaticString) -> Self { Self(.unfitRegister, place(of: reason)) }
    static func noNormalMemory(_ attributes: UInt) -> Self { Self(.noNormalMemory, attributes) }
    static var noDeviceMemory: Self { Self(.noDeviceMemory) }
    static func cpuNumber(_ cpu: Int, count: Int) -> Self {
      Self(.cpuNumber, UInt(bitPattern: cpu), UInt(bitPattern: count))
    }
    static func differentRegisters(_ name: StaticString) -> Self {
      Self(.differentRegisters, place(of: name))
    }
    static func cannotLend(_ reason: StaticString) -> Self { Self(.cannotLend, place(of: reason)) }
    static func notInLinearMap(_ address: UInt) -> Self { Self(.notInLinearMap, address) }
    static func vmallocRange(_ start: UInt, _ end: UInt) -> Self { Self(.vmallocRange, start, end) }
    static func vmallocEntry(_ address: UInt) -> Self { Self(.vmallocEntry, address) }
    static func linearMapInVmalloc(_ address: UInt) -> Self { Self(.linearMapInVmalloc, address) }
    static func noRoomForRecords(_ bytes: Int) -> Self { Self(.noRoomForRecords, UInt(bitPattern: bytes)) }
    static func runningStack(_ address: UInt) -> Self { Self(.runningStack, address) }
    static func notAStack(_ address: UInt) -> Self { Self(.notAStack, address) }
    static func frameInUse(_ address: UInt, purpose: FramePurpose) -> Self {
      Self(.frameInUse, address, place(of: purpose.name))
    }
    static func innerFrame(_ address: UInt) -> Self { Self(.innerFrame, address) }
    static var noDirtyState: Self { Self(.noDirtyState) }
    static func mappingInVmalloc(_ address: UInt) -> Self { Self(.mappingInVmalloc, address) }
    static func foreignTable(_ address: UInt) -> Self { Self(.foreignTable, address) }
    static func notMapped(_ address: UInt) -> Self { Self(.notMapped, address) }
    static var kernelFrames: Self { Self(.kernelFrames) }
    static var kernelAddresses: Self { Self(.kernelAddresses) }
    static func nodeCount(_ count: Int) -> Self { Self(.nodeCount, UInt(bitPattern: count), 64) }
    static func frameCount(_ count: UInt64) -> Self { Self(.frameCount, UInt(count)) }
    static var noKernelFrame: Self { Self(.noKernelFrame, UInt(pageSize)) }
    static func notAFrame(_ address: UInt) -> Self { Self(.notAFrame, address) }
    static func frameNotCleared(_ address: UInt) -> Self { Self(.frameNotCleared, address) }
    static func frameTwice(_ address: UInt) -> Self { Self(.frameTwice, address) }
    static func unalignedRecords(_ address: UInt) -> Self { Self(.unalignedRecords, address) }
    static func unfitAddresses(_ address: UInt) -> Self { Self(.unfitAddresses, address) }
    static func unfitEntry(_ entry: UInt, of address: UInt) -> Self { Self(.unfitEntry, entry, address) }

    // MARK: What it says

    /// What the two words are to a program.
    private enum Figures {
      case none, address, requested, available, requestedAndAvailable
      /// A name, which only the text has, then what was requested.
      case nameAndRequested
      /// What was requested, then what is available, which is the largest.
      case requestedAndLargest
    }

    var failure: CFailure {
      var failure = CFailure(code)
      switch figures {
      case .none: break
      case .address: failure.address = first
      case .requested: failure.requested = Int(bitPattern: first)
      case .available: failure.available = Int(bitPattern: first)
      case .requestedAndAvailable, .requestedAndLargest:
        failure.requested = Int(bitPattern: first)
        failure.available = Int(bitPattern: second)
        if figures == .requestedAndLargest { failure.largest = Int(bitPattern: second) }
      case .nameAndRequested: failure.requested = Int(bitPattern: second)
      }
      return failure
    }

    func write<Sink: TextSink>(to sink: inout Sink) { sink.write(marksAt: text.utf8Start, first, second) }

    // Each of these three has nothing but constants for its cases, so that the compiler makes a table of it.

    private var code: ks_code {
      switch kind {
      case .notInitialized, .stacksNotMade: KS_NOT_INITIALIZED
      case .alreadyInitialized, .stacksMade: KS_ALREADY_INITIALIZED
      case .nullArgument, .stackSize, .unknownStrategy, .unknownNode, .unknownValue,
        .mappingInVmalloc, .nodeCount, .frameCount, .unalignedRecords:
        KS_BAD_ARGUMENT
      case .stacksInUse, .stacksReclaimed: KS_IN_USE
      case .secondLinearAllocator, .sizeCount, .sizeOrder: KS_BAD_CONFIGURATION
      case .tooManyAllocators: KS_NO_ALLOCATORS
      case .granule, .addressBits, .unfitRegister, .noNormalMemory, .noDeviceMemory, .cpuNumber,
        .differentRegisters, .notInLinearMap, .vmallocRange, .linearMapInVmalloc, .noDirtyState:
        KS_BAD_MACHINE
      case .cannotLend: KS_CANNOT_LEND
      case .vmallocEntry, .foreignTable: KS_OCCUPIED
      case .noRoomForRecords, .noKernelFrame: KS_NO_FRAMES
      case .runningStack: KS_RUNNING_STACK
      case .notAStack, .frameInUse, .notMapped: KS_FOREIGN_ADDRESS
      case .innerFrame: KS_INNER_ADDRESS
      case .kernelFrames, .kernelAddresses: KS_NOT_OWNED
      case .notAFrame, .frameNotCleared, .frameTwice, .unfitAddresses, .unfitEntry: KS_BAD_FRAME
      }
    }

    private var figures: Figures {
      switch kind {
      case .notInitialized, .alreadyInitialized, .nullArgument, .stacksNotMade, .stacksMade,
        .secondLinearAllocator, .stacksReclaimed, .unfitRegister, .noNormalMemory, .noDeviceMemory,
        .differentRegisters, .cannotLend, .noDirtyState, .kernelFrames, .kernelAddresses:
        .none
      case .notInLinearMap, .vmallocRange, .vmallocEntry, .linearMapInVmalloc, .runningStack,
        .notAStack, .frameInUse, .innerFrame, .mappingInVmalloc, .foreignTable, .notMapped,
        .notAFrame, .frameNotCleared, .frameTwice, .unalignedRecords, .unfitAddresses, .unfitEntry:
        .address
      case .sizeOrder, .unknownStrategy, .granule, .addressBits, .noRoomForRecords, .frameCount,
        .noKernelFrame:
        .requested
      case .stacksInUse, .tooManyAllocators: .available
      case .sizeCount, .unknownNode, .cpuNumber, .nodeCount: .requestedAndAvailable
      case .unknownValue: .nameAndRequested
      case .stackSize: .requestedAndLargest
      }
    }

    /// The text, in which marks stand for the values (``TextSink/write(_:_:_:)``).
    private var text: StaticString {
      switch kind {
      case .notInitialized: "ks_init has not been called, or has failed"
      case .alreadyInitialized: "ks_init has succeeded before: there is one memory"
      case .nullArgument: "%s is null"
      case .stacksNotMade: "ks_stacks_make has not been called for these stacks, or has failed"
      case .stacksMade: "these stacks have been made already, or the handle was not zero"
      case .stacksInUse: "%d stacks are still in use"
      case .secondLinearAllocator: "there is an allocator of linear stacks: two could not tell theirs apart"
      case .tooManyAllocators: "there are %d allocators of stacks already"
      case .sizeCount: "%d sizes of stacks are outside 1…%d"
      case .sizeOrder: "%d bytes are not more than the size before: sizes ascend"
      case .stackSize: "no stack has %d bytes: sizes are 1…%d"
      case .stacksReclaimed: "freed stacks are being taken back by ks_frames_allocate"
      case .unknownStrategy: "there is no strategy %d"
      case .unknownNode: "there is no NUMA node %d: there are %d"
      case .unknownValue: "there is no %s %d"
      case .granule: "TCR_EL1.TG1 is %d, not 2: kernel pages have to be 4 KiB"
      case .addressBits: "TCR_EL1.T1SZ gives %d address bits: only 39 and 48 are supported"
      case .unfitRegister: "%s"
      case .noNormalMemory: "MAIR_EL1 is %x: none of its attributes is 0xff, of write-back memory"
      case .noDeviceMemory: "no attribute of MAIR_EL1 is 0x04 or 0x00, of device memory"
      case .cpuNumber: "ks_machine_cpu says %d, and there are %d CPUs"
      case .differentRegisters: "this CPU's %s is not the first CPU's"
      case .cannotLend: "pages cannot be lent: %s"
      case .notInLinearMap: "physical address %x is not writable where the linear map should have it"
      case .vmallocRange: "the vmalloc area %x..<%x is no range of kernel addresses"
      case .vmallocEntry: "the root table has an entry for %x already, in the vmalloc area"
      case .linearMapInVmalloc: "the linear map reaches into the vmalloc area at %x"
      case .noRoomForRecords: "no unreserved memory has room for %b of records"
      case .runningStack: "the stack at %x is the one that the caller runs on"
      case .notAStack: "%x lies in no stack of this allocator"
      case .frameInUse: "physical address %x is in use for %s, and not the caller's to free"
      case .innerFrame: "physical address %x is not the first byte of a frame"
      case .noDirtyState: "TCR_EL1.HA and HD are not set: no dirty state is kept"
      case .mappingInVmalloc: "%x shares a root entry with the vmalloc area"
      case .foreignTable: "the root entry for %x was not made by ks_map"
      case .notMapped: "nothing is mapped at %x"
      case .kernelFrames: "page frames are the kernel's own"
      case .kernelAddresses: "addresses and page tables are the kernel's own"
      case .nodeCount: "%d NUMA nodes are outside 1…64"
      case .frameCount: "the kernel counts %d page frames: 1 to 2^36 can be named"
      case .noKernelFrame: "the kernel's function has no frame to give"
      case .notAFrame: "the kernel's function gave %x, which is no frame's physical address"
      case .frameNotCleared: "the kernel's function gave the frame at %x as cleared, and it is not zero"
      case .frameTwice: "the kernel's function gave the frame at %x a second time, and it is in use"
      case .unalignedRecords: "the CPUs' records at %x are not aligned to 8"
      case .unfitAddresses:
        "the kernel's function reserved %x, which is no kernel address, or not aligned as asked"
      case .unfitEntry:
        "the kernel's function gave %x as the entry of %x, which is none, or one of a table in use"
      }
    }
  }
#endif
