// ks_stacks_make and ks_stacks_end: allocators of stacks, of which a kernel may have several.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelPageFrames
  import KernelStacksCHeader
  import KernelThreadStacks

  typealias CStacks = ThreadStackAllocator<CMachine, CFrames, CArena>
  typealias CStacksHandle = UnsafePointer<ks_stacks>?

  /// The allocator behind a handle; `nil` if it was not made.
  ///
  /// Why the cast is sound: (1) an allocator's value is one pointer, to its records, which `ks_stacks_make` checks; (2) its
  /// handle holds that value until `ks_stacks_end`, and null before and after; (3) the value never changes.
  @inline(__always) func allocator(_ handle: CStacksHandle) -> UnsafePointer<CStacks>? {
    guard let handle, handle.pointee.opaque != nil else { return nil }
    return UnsafeRawPointer(handle).assumingMemoryBound(to: CStacks.self)
  }

  /// Calls `body` with the allocator whose records these are.
  @inline(__always) func withAllocator<Result>(
    _ records: UnsafeMutableRawPointer, _ body: (UnsafePointer<CStacks>) -> Result
  ) -> Result {
    withUnsafePointer(to: records) { handle in
      body(UnsafeRawPointer(handle).assumingMemoryBound(to: CStacks.self))
    }
  }

  @c @implementation func ks_stack_defaults(_ strategy: ks_strategy) -> ks_stack_configuration {
    let defaults = StackConfiguration(
      strategy == KS_LINEAR ? .linear : strategy == KS_GROWING ? .growing : .vmalloc)
    var result = ks_stack_configuration()
    result.strategy = strategy
    result.thread_info_at_top = defaults.threadInfoPlacement == .top
    result.size = UInt32(defaults.size)
    result.guard_minimum = UInt32(defaults.guardMinimum)
    result.phase = UInt32(defaults.phase)
    result.thread_info_size = UInt32(defaults.threadInfoSize)
    result.capacity = 0
    result.cached_per_cpu = UInt32(defaults.cachedStacksPerCPU)
    result.depot = UInt32(defaults.depotStacks)
    result.retirement_batch = UInt32(defaults.retirementBatch)
    result.groups = UInt32(defaults.stackGroups)
    return result
  }

  @c @implementation func ks_stacks_make(
    _ handle: UnsafeMutablePointer<ks_stacks>!, _ configuration: UnsafePointer<ks_stack_configuration>!,
    _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    do throws(CInterfaceError) {
      guard CMemory.isInitialized else { throw .notInitialized }
      guard let handle else { throw .nullArgument("the pointer to the stacks") }
      guard let configuration else { throw .nullArgument("the configuration") }
      guard handle.pointee.opaque == nil else { throw .stacksMade }
      guard MemoryLayout<CStacks>.size == MemoryLayout<ks_stacks>.size else {
        throw .unknownValue("handle of this size", UInt(MemoryLayout<CStacks>.size))
      }
      let asked = try stackConfiguration(configuration.pointee)
      let isLinear = asked.strategy == .linear
      if isLinear, CMemory.frames == nil { throw .kernelFrames }
      let records = try recordMemory(configuration.pointee, asked)
      if isLinear, ks_state().pointee.linear_stacks != nil { throw .secondLinearAllocator }
      do throws(ThreadStackError) {
        let stacks = try CStacks(
          asked, machine: CMachine(), frames: CFrames(), arena: CArena(), records: records)
        UnsafeMutableRawPointer(handle).bindMemory(to: CStacks.self, capacity: 1).initialize(to: stacks)
        guard ks_enter_allocators(handle.pointee.opaque) else {
          end(handle)
          return report(CInterfaceError.tooManyAllocators, to: error)
        }
        if isLinear { ks_state().pointee.linear_stacks = handle.pointee.opaque }
        return KS_OK
      } catch let refusal { return report(refusal, to: error) }
    } catch let interfaceError { return report(interfaceError, to: error) }
  }

  @c @implementation func ks_stacks_records_size(
    _ configuration: UnsafePointer<ks_stack_configuration>!, _ error: UnsafeMutablePointer<ks_error>!
  ) -> Int {
    do throws(CInterfaceError) {
      guard CMemory.isInitialized else { throw .notInitialized }
      guard let configuration else { throw .nullArgument("the configuration") }
      let asked = try stackConfiguration(configuration.pointee)
      do throws(StackConfigurationError) {
        return try recordByteCount(asked, within: .max)
      } catch let refusal { _ = report(ThreadStackError.configuration(refusal), to: error) }
    } catch let interfaceError { _ = report(interfaceError, to: error) }
    return 0
  }

  /// The memory that is given for the records, cleared if it is fit; `nil` where the library's own frames are to serve.
  ///
  /// Why this use of memory is sound: the caller promises that it is there, and no other's.
  private func recordMemory(
    _ given: ks_stack_configuration, _ asked: StackConfiguration
  ) throws(CInterfaceError) -> UnsafeMutableRawBufferPointer? {
    guard let start = given.records else {
      if CMemory.frames == nil { throw .nullArgument("the memory for the records") }
      return nil
    }
    // What C calls SIZE_MAX is negative here.
    let size = given.records_size < 0 ? .max : given.records_size
    do throws(StackConfigurationError) {
      let needed = try recordByteCount(asked, within: size)
      if size >= needed, UInt(bitPattern: start) & 63 == 0 {
        start.initializeMemory(as: UInt8.self, repeating: 0, count: needed)
      }
    } catch {}
    return UnsafeMutableRawBufferPointer(start: start, count: size)
  }

  /// The bytes that records take, if there are so many.
  @inline(never) private func recordByteCount(
    _ asked: StackConfiguration, within room: Int
  ) throws(StackConfigurationError) -> Int {
    try CStacks.recordByteCount(asked, machine: CMachine(), frames: CFrames(), within: room)
  }

  private func stackConfiguration(
    _ asked: ks_stack_configuration
  ) throws(CInterfaceError) -> StackConfiguration {
    let strategy: StackStrategy
    switch asked.strategy {
    case KS_LINEAR: strategy = .linear
    case KS_VMALLOC: strategy = .vmalloc
    case KS_GROWING: strategy = .growing
    default: throw .unknownStrategy(UInt(asked.strategy.rawValue))
    }
    return StackConfiguration(
      strategy, size: Int(asked.size), guardMinimum: Int(asked.guard_minimum), phase: Int(asked.phase),
      threadInfoPlacement: asked.thread_info_at_top ? .top : .base,
      threadInfoSize: Int(asked.thread_info_size), capacity: asked.capacity == 0 ? nil : Int(asked.capacity),
      cachedStacksPerCPU: Int(asked.cached_per_cpu), depotStacks: Int(asked.depot),
      retirementBatch: Int(asked.retirement_batch), stackGroups: Int(asked.groups))
  }

  @c @implementation func ks_stacks_end(
    _ handle: UnsafeMutablePointer<ks_stacks>!, _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    freeLeftStack()
    do throws(CInterfaceError) {
      guard let handle, let stacks = allocator(handle) else { throw .stacksNotMade }
      let live = stacks.pointee.liveStackCount
      guard live == 0 else { throw .stacksInUse(live) }
      guard ks_leave_allocators(handle.pointee.opaque) else { throw .stacksReclaimed }
      if ks_state().pointee.linear_stacks == handle.pointee.opaque { ks_state().pointee.linear_stacks = nil }
      end(handle)
      return KS_OK
    } catch let interfaceError { return report(interfaceError, to: error) }
  }

  private func end(_ handle: UnsafeMutablePointer<ks_stacks>) {
    // The handle is cleared before the records are freed.
    let ended = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: CStacks.self).move()
    handle.pointee.opaque = nil
    _ = consume ended
  }

  /// Has each allocator of stacks in turn give back freed stacks, until a request can be served, or without one, until so many
  /// frames have come back.
  ///
  /// - Parameters:
  ///   - frames: how many frames to give back, from each allocator.
  ///   - request: is tried each time that frames have come back.
  /// - Returns: how many frames have come back, and what served the request.
  @inline(never)
  func reclaimFromAllStacks(frames: Int, for request: FrameRequest? = nil) -> (given: Int, frame: PageFrame?) {
    ks_begin_asking()
    defer { ks_end_asking() }
    var total = 0
    for index in 0..<KS_MOST_ALLOCATORS {
      guard let opaque = ks_allocator_at(index) else { continue }
      var handle = ks_stacks(opaque: opaque)
      let given = ks_stacks_reclaim(&handle, frames)
      total &+= given
      if let request {
        if given > 0, let frame = try? CFrames().allocate(request) { return (total, frame) }
      } else if total >= frames {
        break
      }
    }
    return (total, nil)
  }

  @c @implementation func ks_stacks_at(_ address: UInt) -> ks_stacks {
    guard CMemory.isInitialized else { return ks_stacks() }
    // While it looks, no allocator ends.
    ks_begin_asking()
    defer { ks_end_asking() }
    for index in 0..<KS_MOST_ALLOCATORS {
      guard let opaque = ks_allocator_at(index) else { continue }
      let handle = ks_stacks(opaque: opaque)
      if isAmongStacks(address, of: handle) { return handle }
    }
    return ks_stacks()
  }

  private func isAmongStacks(_ address: UInt, of handle: ks_stacks) -> Bool {
    withUnsafePointer(to: handle) { handle in
      guard let stacks = allocator(handle) else { return false }
      if stacks.pointee.slotAddresses.contains(VirtualAddress(address)) { return true }
      guard stacks.pointee.configuration.strategy == .linear, let block = ks_frames().pointee.linear_block
      else {
        return false
      }
      let size = stacks.pointee.geometry.size
      let base = address & ~UInt(bitPattern: size &- 1)
      return block(UInt64(base &- CMachine().linearMapOffset), size) == KS_BLOCK_IS_STACK
    }
  }

  @c @implementation func ks_stacks_geometry(_ handle: CStacksHandle) -> ks_stack_geometry {
    var result = ks_stack_geometry()
    guard let stacks = allocator(handle) else { return result }
    let geometry = stacks.pointee.geometry
    let usable = geometry.usableRange(base: VirtualAddress(0))
    result.size = UInt32(geometry.size)
    result.stride = UInt32(geometry.stride)
    result.phase = UInt32(geometry.phase)
    result.thread_info_offset = UInt32(geometry.threadInfoOffset)
    result.usable_offset = UInt32(usable.base.rawValue)
    result.usable_end = UInt32(usable.top.rawValue)
    return result
  }

  @c @implementation func ks_stacks_adopt_boot_stack(
    _ handle: CStacksHandle, _ base: UnsafeMutableRawPointer!, _ physical: UInt64,
    _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    guard let stacks = allocator(handle) else { return report(CInterfaceError.stacksNotMade, to: error) }
    do throws(ThreadStackError) {
      try stacks.pointee.adoptBootStack(
        at: VirtualAddress(UInt(bitPattern: base)), firstFrame: PhysicalAddress(UInt(physical)).frame)
      return KS_OK
    } catch let refusal { return report(refusal, to: error) }
  }
#endif
