// The memory of processes: task records, numbers, kernel stacks and address spaces, created and destroyed together.
//
// Life of a process, and who does what:
//
//   createFirst / fork      created     the machine fills in the registers, then makes it runnable
//   (machine)               runnable    runs, is preempted, makes system calls, faults (handleUserFault)
//   hold / release          holding     a system call of the process / of its parent
//   exit                    exiting     address space gone; before the call the machine has left it (TTBR0 elsewhere)
//   hasStopped              zombie      called on another stack, after the last instruction on its own
//   reap                    -           called for the parent's `wait`: stack, record and number are free again
//
// Locking. Every function here takes these locks itself, with interrupts off; no caller holds one, and neither is held when the
// other is taken:
//
//   process table   numbers, families, states, records, kernel threads and figures
//   share counts    the owner words of frames of user memory
//
// The tables of an address space have no lock: only the process itself changes them, by a fork, a fault or its end, and its parent
// before it first runs. While they are changed interrupts are off, since the CPU that stored entries must publish them. So forks
// of different processes meet only to take a number, and to count a page.

import KernelStacks

/// The state that all processes share, at the start of a frame of its own.
///
/// The lock of the share counts follows in the frame, then ``Processes/workloadRoom``.
struct ProcessesState {
  var lock = SpinLock()
  var records = RecordPool<TaskRecord>()
  var threads = KernelThreadsState()
  var lastProcessID = 0
  var processCount = 0
  var first: TaskPointer?
  var figures = ForkFigures()
  var reclaimOnOtherCPUs: (@convention(c) () -> Int)?
  var settleOnOtherCPUs: (@convention(c) () -> Void)?
  var dropFreeTranslations: (@convention(c) () -> Void)?
}

/// All processes of a machine.
///
/// - `Parts`: the handle to the allocators.
///
/// One value serves all CPUs. It allocates its tables when it is made. With only the first process alive and ``reclaim()``
/// called, all other frames are free again.
public struct Processes<Parts: KernelParts>: ~Copyable {
  /// The machine.
  public typealias M = Parts.M

  /// The machine.
  public let machine: M
  /// Where the frame allocator, the vmalloc area and the stacks lie.
  public let parts: Parts
  /// The first frame of RAM.
  public let lowestFrame: PageFrame
  /// The number of frame numbers from the first frame of RAM to the last.
  public let frameSpan: Int
  /// The number of frames of RAM.
  public let memoryFrames: Int
  /// The most processes that can exist at once.
  public let processLimit: Int

  /// The ASIDs of address spaces.
  public let addressSpaceTags: AddressSpaceTags<M>

  let state: UnsafeMutablePointer<ProcessesState>
  /// One word per process number: the address of its record, or 0.
  ///
  /// It is an area of the vmalloc area.
  let table: VirtualAddress
  private let stateFrame: PageFrame

  /// Makes a process table without processes.
  ///
  /// - Parameters:
  ///   - parts: the frame allocator, the vmalloc area and the stack allocator, all made already.
  ///   - memory: the RAM that the frame allocator manages.
  ///   - identifierBits: the length of an ASID on this machine, or less.
  /// - Throws: the refusal of a table's memory. All memory has been freed then.
  public init(
    _ parts: Parts, memory: borrowing PhysicalMemoryMap, identifierBits: Int = 16
  ) throws(ProcessTableError) {
    let machine = parts.machine
    let frames = parts.frames
    let arena = parts.arena
    let span = memory.highestFrame - memory.lowestFrame + 1
    // A process takes more than 4 frames, so below 1 GiB memory runs out before numbers do.
    let entries = min(65536, (frames.totalFrames / 4 + 511) & ~511)

    let tags: AddressSpaceTags<M>
    do {
      tags = try AddressSpaceTags(machine: machine, bits: identifierBits, frames: frames)
    } catch { throw .frames(error) }
    let stateFrame: PageFrame
    do {
      stateFrame = try frames.allocate(FrameRequest(purpose: .metadata, cleared: true))
    } catch {
      tags.release(to: frames)
      throw .frames(error)
    }
    do {
      table = try arena.pointee.vmalloc(size: entries * 8, caller: "process table", frames: frames)
    } catch {
      returnFrame(stateFrame, to: frames)
      tags.release(to: frames)
      throw .vmalloc(error)
    }
    for page in 0..<(entries * 8 / pageSize) {
      let frame = arena.pointee.page(of: table + page * pageSize)!
      machine.clear(machine.linearAddress(of: frame), byteCount: pageSize)
    }

    self.machine = machine
    self.parts = parts
    lowestFrame = memory.lowestFrame
    frameSpan = span
    memoryFrames = memory.totalFrames
    processLimit = entries - 1
    self.stateFrame = stateFrame
    precondition(
      MemoryLayout<ProcessesState>.size <= Self.shareLockOffset
        && Self.shareLockOffset + 64 <= pageSize - Self.workloadRoomBytes)
    state = machine.pointer(to: stateFrame.physicalAddress).assumingMemoryBound(to: ProcessesState.self)
    state.initialize(to: ProcessesState())
    addressSpaceTags = tags
  }

  /// Frees the tables.
  ///
  /// No process is left.
  deinit {
    do { try arena.vfree(table, frames: frames) } catch {}
    _ = arena.flush(frames: frames)
    returnFrame(stateFrame, to: frames)
    addressSpaceTags.release(to: frames)
  }
}

extension Processes {
  // MARK: The other parts of the kernel

  /// The source of page frames.
  public var frames: Parts.Frames { parts.frames }

  /// The frame allocator, for figures.
  public var frameAllocator: BuddyAllocator<M> { _read { yield parts.frameAllocator.pointee } }

  /// The vmalloc area.
  public var arena: VmallocArea<M> { _read { yield parts.arena.pointee } }

  /// The allocator of kernel stacks.
  public var stacks: PartStacks<Parts> { _read { yield parts.stacks.pointee } }

  // MARK: Processes

  /// The number of processes, including dead ones not reaped yet.
  public var processCount: Int { state.pointee.processCount }

  /// The first process, from ``createFirst(_:)`` until it is reaped.
  public var first: TaskPointer? { state.pointee.first }

  /// The process with this number, or `nil`.
  public borrowing func task(_ processID: Int) -> TaskPointer? {
    guard processID > 0, processID <= processLimit else { return nil }
    return UnsafeMutablePointer(bitPattern: tableEntry(processID).pointee)
  }

  // MARK: Workloads

  /// The size of ``workloadRoom`` in bytes.
  public static var workloadRoomBytes: Int { 2048 }

  /// Memory for the state of workloads: 2,048 bytes, aligned to their size, initially zero.
  ///
  /// Processes do not use it. ``locked(_:)`` guards what several CPUs change.
  public var workloadRoom: UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(state) + (pageSize - Self.workloadRoomBytes)
  }

  // MARK: Caches and reserves

  /// Reclaims caches on all CPUs: cached stacks, and areas that wait for an invalidation.
  ///
  /// For thread code that holds no lock.
  ///
  /// - Returns: the number of frames given back.
  @discardableResult public borrowing func reclaim() -> Int {
    // A single page would suffice; reclaiming everything makes counts exact.
    var given = stacks.reclaim(target: Int.max)
    if let reclaimOnOtherCPUs = state.pointee.reclaimOnOtherCPUs { given += reclaimOnOtherCPUs() }
    return given + arena.flush(frames: frames)
  }

  /// Sets the function that reclaims caches on all other CPUs and returns the number of frames given back.
  public borrowing func setReclaimOnOtherCPUs(_ function: @convention(c) () -> Int) {
    state.pointee.reclaimOnOtherCPUs = function
  }

  /// Sets the function that runs ``settleThisCPU()`` on all other CPUs.
  public borrowing func setSettleOnOtherCPUs(_ function: @convention(c) () -> Void) {
    state.pointee.settleOnOtherCPUs = function
  }

  /// Sets the function that drops the translations of all user address spaces on all CPUs, faster than ASID by ASID.
  public borrowing func setDropFreeTranslations(_ function: @convention(c) () -> Void) {
    state.pointee.dropFreeTranslations = function
  }

  /// Switches the current CPU to a process's address space.
  ///
  /// Interrupts are off, and stay off until the CPU uses another address space or none.
  ///
  /// - Parameters:
  ///   - task: the process, which has an address space.
  ///   - enter: writes the root to TTBR0_EL1 with the ASID given, and synchronizes the context.
  public borrowing func enterAddressSpace(of task: TaskPointer, _ enter: (AddressSpaceID) -> Void) {
    let dropAll = state.pointee.dropFreeTranslations
    addressSpaceTags.activate(
      &task.pointee.addressSpaceTag,
      drop: { tags in if let dropAll { dropAll() } else { tags.dropEachFree() } }, enter: enter)
  }

  /// Reclaims caches, fills the reserves, and merges all free frames, on all CPUs if the machine has set how.
  ///
  /// Frames that are not free afterwards are in use. Not for code on a growing stack.
  public borrowing func settle() {
    reclaim()
    if let settleOnOtherCPUs = state.pointee.settleOnOtherCPUs { settleOnOtherCPUs() }
    settleThisCPU()
  }

  /// Fills the current CPU's reserve, and merges the free frames in its lists.
  public borrowing func settleThisCPU() {
    stacks.fillReserve()
    frames.drain()
  }

  /// The entry of a process number, through the linear map.
  borrowing func tableEntry(_ processID: Int) -> UnsafeMutablePointer<UInt> {
    let address = table + processID * 8
    let frame = arena.page(of: address)!
    return (machine.pointer(to: frame.physicalAddress) + Int(address.rawValue & 0xfff))
      .assumingMemoryBound(to: UInt.self)
  }

  /// The name of the lock at an address, for reports of waits; `nil` if it is no lock of processes.
  public borrowing func lockName(at address: UInt) -> StaticString? {
    switch address {
    case UInt(bitPattern: state): "processTable"
    case UInt(bitPattern: shareLock): "shareCounts"
    default: addressSpaceTags.lockName(at: address)
    }
  }

  /// The lock of the share counts, in a line of its own.
  var shareLock: UnsafeMutablePointer<SpinLock> {
    (UnsafeMutableRawPointer(state) + Self.shareLockOffset).assumingMemoryBound(to: SpinLock.self)
  }

  private static var shareLockOffset: Int { 1024 }

  /// Runs `body` with interrupts off.
  borrowing func withInterruptsOff<Result: ~Copyable, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let interrupts = machine.disableInterrupts()
    defer { machine.restoreInterrupts(interrupts) }
    return try body()
  }

  /// Runs `body` with the lock of the process table held, and interrupts off.
  ///
  /// `body` must not call operations of processes that take the lock.
  public borrowing func locked<Result: ~Copyable, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let lock = UnsafeMutableRawPointer(state).assumingMemoryBound(to: SpinLock.self)
    let interrupts = machine.lock(lock)
    defer { machine.unlock(lock, restoring: interrupts) }
    return try body()
  }
}

/// An error of setting up the process table.
public enum ProcessTableError: Error, Equatable, TextDescribable {
  /// There was no memory for a table.
  case frames(FrameSourceError)
  /// There was no area for the table of process numbers.
  case vmalloc(VmallocError)

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .frames(let error): error.write(to: &sink)
    case .vmalloc(let error): error.write(to: &sink)
    }
  }
}
