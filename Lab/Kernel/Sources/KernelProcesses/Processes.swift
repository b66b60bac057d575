// The memory side of processes: task records, numbers, kernel stacks and address spaces, made and undone together.
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
// Locking: one lock guards the process table, the families, the counts of shared frames and all user entries. It is taken
// inside every function here, with interrupts off, and never held by a caller. A fork holds it from its beginning to its
// end: interrupts would have to be off all the same, since entries are published by the CPU that has stored them.

import KernelStacks

/// The state that all processes share, at the beginning of a frame of its own; the rest of the frame is for what runs on
/// processes.
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

/// All processes of a machine, with the allocator of their stacks.
///
/// - `M`: the machine.
/// - `F`: where page frames come from.
///
/// One value serves all CPUs. It takes its tables from the frame source when it is made; with nothing but the first
/// process alive and ``reclaim()`` called, all other frames are back.
public struct Processes<M: PageTableMachine, F: ProcessFrameSource & ~Copyable>: ~Copyable {
  /// The allocator of kernel stacks.
  public typealias Stacks = ThreadStackAllocator<M, F, VmallocArea<M>>

  /// The machine.
  public let machine: M
  /// The allocator of kernel stacks; `stacks.frames` and `stacks.arena` are the frame source and the vmalloc area.
  public let stacks: Stacks
  /// The first frame of RAM.
  public let lowestFrame: PageFrame
  /// How many frame numbers there are from the first frame of RAM to the last.
  public let frameSpan: Int
  /// How many frames of RAM there are.
  public let memoryFrames: Int
  /// How many processes there can be.
  public let processLimit: Int

  /// The ASIDs of address spaces.
  public let addressSpaceTags: AddressSpaceTags<M>

  let state: UnsafeMutablePointer<ProcessesState>
  /// One word per process number: where its record is, 0 for none.
  ///
  /// An area of the vmalloc area.
  let table: VirtualAddress
  private let stateFrame: PageFrame

  /// Sets up for no process yet.
  ///
  /// - Parameters:
  ///   - machine: the machine.
  ///   - stacks: the allocator of kernel stacks.
  ///   - memory: the RAM that `stacks.frames` manages.
  ///   - identifierBits: how long an ASID is on this machine, or shorter.
  /// - Throws: when there is no room for the tables. Everything has been given back then, the allocator included.
  public init(
    machine: M, stacks: consuming Stacks, memory: borrowing PhysicalMemoryMap,
    identifierBits: Int = 16
  ) throws(ProcessTableError) {
    let span = memory.highestFrame - memory.lowestFrame + 1
    // A process needs more than 4 frames, so memory ends before numbers do where there is less than 1 GiB.
    let entries = min(65536, (stacks.frames.totalFrames / 4 + 511) & ~511)

    let tags: AddressSpaceTags<M>
    do {
      tags = try AddressSpaceTags(machine: machine, bits: identifierBits, frames: stacks.frames)
    } catch { throw .frames(error) }
    let stateFrame: PageFrame
    do {
      stateFrame = try stacks.frames.allocate(FrameRequest(purpose: .metadata, cleared: true))
    } catch {
      tags.release(to: stacks.frames)
      throw .frames(error)
    }
    do {
      table = try stacks.arena.vmalloc(size: entries * 8, caller: "process table", frames: stacks.frames)
    } catch {
      returnFrame(stateFrame, to: stacks.frames)
      tags.release(to: stacks.frames)
      throw .vmalloc(error)
    }
    for page in 0..<(entries * 8 / pageSize) {
      let frame = stacks.arena.page(of: table + page * pageSize)!
      machine.clear(machine.linearAddress(of: frame), byteCount: pageSize)
    }

    self.machine = machine
    lowestFrame = memory.lowestFrame
    frameSpan = span
    memoryFrames = memory.totalFrames
    processLimit = entries - 1
    self.stateFrame = stateFrame
    precondition(MemoryLayout<ProcessesState>.size <= pageSize - Self.workloadRoomBytes)
    state = machine.pointer(to: stateFrame.physicalAddress).assumingMemoryBound(to: ProcessesState.self)
    state.initialize(to: ProcessesState())
    addressSpaceTags = tags
    self.stacks = stacks
  }

  /// Gives the tables back.
  ///
  /// There is no process left.
  deinit {
    do { try stacks.arena.vfree(table, frames: stacks.frames) } catch {}
    _ = stacks.arena.flush(frames: stacks.frames)
    returnFrame(stateFrame, to: stacks.frames)
    addressSpaceTags.release(to: stacks.frames)
  }
}

extension Processes where F: ~Copyable {
  /// How many processes there are, dead ones that wait for `reap` included.
  public var processCount: Int { state.pointee.processCount }

  /// The first process, from ``createFirst(_:)`` until it is reaped.
  public var first: TaskPointer? { state.pointee.first }

  /// The process with this number.
  public borrowing func task(_ processID: Int) -> TaskPointer? {
    guard processID > 0, processID <= processLimit else { return nil }
    return UnsafeMutablePointer(bitPattern: tableEntry(processID).pointee)
  }

  // MARK: What runs on processes

  /// The size of ``workloadRoom``, in bytes.
  public static var workloadRoomBytes: Int { 2048 }

  /// Room for what runs on processes to keep its own state in: 2,048 bytes, aligned to their number, at first zero.
  ///
  /// Processes do not touch it. ``locked(_:)`` guards what several CPUs change.
  public var workloadRoom: UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(state) + (pageSize - Self.workloadRoomBytes)
  }

  // MARK: Memory that is kept for speed

  /// Gives back what is only kept for speed, on all CPUs: cached stacks, and areas that wait for an invalidation.
  ///
  /// For thread code that holds no lock.
  ///
  /// - Returns: how many frames went back.
  @discardableResult public borrowing func reclaim() -> Int {
    // One page at a time would do; all of it makes counts exact.
    var given = stacks.reclaim(target: Int.max)
    if let reclaimOnOtherCPUs = state.pointee.reclaimOnOtherCPUs { given += reclaimOnOtherCPUs() }
    return given + stacks.arena.flush(frames: stacks.frames)
  }

  /// Says how all other CPUs are made to give back what they keep for speed; it tells how many frames went back.
  public borrowing func setReclaimOnOtherCPUs(_ function: @convention(c) () -> Int) {
    state.pointee.reclaimOnOtherCPUs = function
  }

  /// Says how all other CPUs are made to do what ``settleThisCPU()`` does.
  public borrowing func setSettleOnOtherCPUs(_ function: @convention(c) () -> Void) {
    state.pointee.settleOnOtherCPUs = function
  }

  /// Says how all CPUs are made to drop what they have cached of all user address spaces, faster than one after the other.
  public borrowing func setDropFreeTranslations(_ function: @convention(c) () -> Void) {
    state.pointee.dropFreeTranslations = function
  }

  /// Lets this CPU walk a process's address space.
  ///
  /// Interrupts are off, and stay off until the CPU walks another, or none.
  ///
  /// - Parameters:
  ///   - task: the process, which has an address space.
  ///   - enter: puts the root into TTBR0_EL1, with the ASID it gets, and synchronizes the context.
  public borrowing func enterAddressSpace(of task: TaskPointer, _ enter: (AddressSpaceID) -> Void) {
    let dropAll = state.pointee.dropFreeTranslations
    addressSpaceTags.activate(
      &task.pointee.addressSpaceTag,
      drop: { tags in if let dropAll { dropAll() } else { tags.dropEachFree() } }, enter: enter)
  }

  /// Gives back what is only kept for speed, brings the reserves that stacks grow from to their full size, and merges all
  /// free frames, on all CPUs where the machine has said how.
  ///
  /// All frames that are not free then are needed. Not for code that runs on a stack that grows.
  public borrowing func settle() {
    reclaim()
    if let settleOnOtherCPUs = state.pointee.settleOnOtherCPUs { settleOnOtherCPUs() }
    settleThisCPU()
  }

  /// Brings this CPU's reserve to its full size, and merges the free frames that it keeps.
  public borrowing func settleThisCPU() {
    stacks.fillReserve()
    stacks.frames.drain()
  }

  /// Where a process number's record is noted, as a host address.
  borrowing func tableEntry(_ processID: Int) -> UnsafeMutablePointer<UInt> {
    let address = table + processID * 8
    let frame = stacks.arena.page(of: address)!
    return (machine.pointer(to: frame.physicalAddress) + Int(address.rawValue & 0xfff))
      .assumingMemoryBound(to: UInt.self)
  }

  /// Runs `body` with the lock of the process table held, and interrupts off.
  ///
  /// `body` calls no operation of processes that takes the lock.
  public borrowing func locked<Result: ~Copyable, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let lock = UnsafeMutableRawPointer(state).assumingMemoryBound(to: SpinLock.self)
    let interrupts = machine.lock(lock)
    defer { machine.unlock(lock, restoring: interrupts) }
    return try body()
  }
}

/// Why the process table cannot be set up.
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
