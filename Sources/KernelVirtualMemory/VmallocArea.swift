// The vmalloc area: virtually contiguous memory made of single page frames.
//
//   range.lowerBound                                            smallBase                         range.upperBound
//   | area | guard | area | guard |   gap   | area | guard | gap | chunk | chunk |    | chunk |      |
//   +-------------- one tree, the lowest place that fits --------+------ small areas, by CPU -------+
//
// An allocation takes its steps in an order in which each can be undone without an invalidation: address space and
// record, then the frames, then the frames of missing tables. Only then are tables linked and pages mapped, which cannot
// fail. Until then no walker has seen anything.

import KernelMachine
import Synchronization

/// Hands out areas of virtually contiguous memory in a range of kernel addresses, and reserves parts of it for stacks.
///
/// All operations may be called on several CPUs at once, with interrupts on or off, and never sleep. The first
/// allocation that succeeds takes one frame for the allocator's state, which stays until ``close(frames:)``.
public struct VmallocArea<M: PageTableMachine>: ~Copyable, StackArena {
  /// The addresses that this area manages.
  public let range: VirtualAddressRange
  /// The machine whose kernel tables are changed.
  public let machine: M
  /// The lowest address of the chunks, where the tree of all other areas ends; the end of a range too small for chunks.
  let smallBase: UInt
  /// The largest possible number of chunks.
  let chunkCount: Int
  /// The physical address of the state plus 1; 0 before the first allocation has succeeded.
  let stateAddress: Atomic<UInt>

  /// Makes an empty vmalloc area.
  ///
  /// - Parameters:
  ///   - range: kernel addresses that no other code maps; partial pages at its ends are left out. Tables that reach into it
  ///     have been built by ``TranslationTables``, so that their entries are counted.
  ///   - machine: the machine whose kernel tables are changed.
  public init(_ range: Range<UInt>, machine: M) {
    let upper = range.upperBound & ~4095
    let (widened, overflow) = range.lowerBound.addingReportingOverflow(4095)
    let lower = overflow ? upper : min(widened & ~4095, upper)
    self.range = VirtualAddressRange(VirtualAddress(lower), VirtualAddress(upper))
    self.machine = machine
    // An eighth of the range at most, so that a narrow one keeps room for areas that are not small.
    chunkCount = min(Int(bitPattern: (upper &- lower) &>> 24), SmallAreas.largestChunkCount)
    smallBase =
      chunkCount == 0
      ? upper : upper & ~(UInt(bitPattern: SmallChunk.byteCount) &- 1) &- UInt(bitPattern: chunkCount) &<< 21
    stateAddress = Atomic(0)
  }

  /// Makes an empty vmalloc area over the layout's range.
  public init(_ layout: AddressLayout, machine: M) {
    let area = layout.vmallocArea
    self.init(area.lowerBound.rawValue..<area.upperBound.rawValue, machine: machine)
  }

  /// Whether an address lies in the part of the range that is set aside for chunks.
  borrowing func isInChunks(_ address: VirtualAddress) -> Bool {
    address.rawValue &- smallBase < UInt(bitPattern: chunkCount) &<< 21
  }

  /// Freed pages that may wait before an invalidation is made for them: 1 MiB, on each CPU if they are small areas.
  public static var retiredPagesBound: Int { 256 }
  /// Freed areas that may wait before an invalidation is made for them, on each CPU if they are small ones.
  public static var retiredAreasBound: Int { 32 }

  var tables: TranslationTables<M> { TranslationTables(kernelOf: machine) }

  // MARK: Allocating

  /// Allocates an area and maps it, readable and writable by the kernel, with every byte zero.
  ///
  /// An area that takes up to 32 pages with its guard, at an alignment of up to 64 pages, is a *small* one: it comes from
  /// a chunk of the current CPU, and no lock but the CPU's own is taken, until a chunk is full.
  ///
  /// - Parameters:
  ///   - size: a positive multiple of 4,096, in bytes.
  ///   - alignment: a power of two from 4,096 up.
  ///   - guardBytes: the bytes above the area that stay unmapped: a positive multiple of 4,096.
  ///   - node: the preferred NUMA node; `nil` means that of the current CPU.
  ///   - caller: the caller's name, for the listing.
  ///   - frames: where memory comes from, one frame at a time.
  /// - Returns: the lowest address where the area fits; for a small one, some address in a chunk.
  /// - Throws: ``VmallocError``; frames, tables and address space are then as they were.
  /// - Complexity: small areas: O(1), plus O(pages). Others: O(log n) in the number of areas, plus O(pages); for alignments
  ///   above 2 MiB, the gaps that hold `size` bytes at a multiple of 2 MiB but not at one of `alignment` are tried one by one.
  public borrowing func vmalloc<Frames: FrameSource & ~Copyable>(
    size: Int, alignment: Int = 4096, guard guardBytes: Int = 4096, node: NodeID? = nil, caller: StaticString,
    frames: borrowing Frames
  ) throws(VmallocError) -> VirtualAddress {
    guard size > 0, size & 4095 == 0 else { throw .invalidSize(size) }
    guard size &>> 12 <= frames.totalFrames else {
      throw .oversized(requestedBytes: size, totalBytes: frames.totalFrames &<< 12)
    }
    guard alignment >= 4096, alignment & (alignment &- 1) == 0 else { throw .invalidAlignment(alignment) }
    guard guardBytes > 0, guardBytes & 4095 == 0 else { throw .invalidGuard(guardBytes) }
    if let node, node.index < 0 || node.index >= frames.nodeCount {
      throw .unknownNode(node, nodeCount: frames.nodeCount)
    }
    let totalPages = smallPages(size: size, guardBytes: guardBytes, alignment: alignment)
    if totalPages > 0,
      let address = try allocateSmall(
        pages: size &>> 12, totalPages: totalPages, alignment: alignment &>> 12, node: node, caller: caller,
        frames: frames)
    {
      return address
    }
    let shape = AreaShape(
      byteCount: size, guardBytes: min(guardBytes, Int.max &- size), alignment: UInt(bitPattern: alignment),
      phase: 0, granularity: 4096)
    while true {
      let state = try openState(frames: frames)
      do throws(VmallocError) {
        let area = try reserve(shape, .general, caller: caller, in: state, frames: frames)
        do throws(VmallocError) {
          if try populate(area, node: node, in: state, frames: frames) {
            return VirtualAddress(area.pointee.base)
          }
        } catch {
          unreserve(area, in: state, frames: frames)
          throw error
        }
        unreserve(area, in: state, frames: frames)
      } catch {
        discard(state, frames: frames)
        throw error
      }
      discard(state, frames: frames)  // Another CPU's first allocation was faster: its state is the one.
    }
  }

  /// Allocates the frames and tables of a reserved area and maps it.
  ///
  /// - Returns: `false`, with nothing changed, if another state has been published meanwhile.
  borrowing func populate<Frames: FrameSource & ~Copyable>(
    _ area: AreaPointer, node: NodeID?, in state: VmallocStatePointer, frames: borrowing Frames
  ) throws(VmallocError) -> Bool {
    let byteCount = area.pointee.byteCount
    let pages = VirtualAddressRange(VirtualAddress(area.pointee.base), byteCount: byteCount)
    var content = FrameChain()
    var spare = FrameChain()
    do throws(VmallocError) {
      try grow(&content, to: byteCount &>> 12, node: node, purpose: .vmalloc, frames: frames)
      let isDone = try linkTables(
        pages, spare: &spare, node: node, in: state, frames: frames,
        leaves: { _, _, count, _ in count },
        then: { state in
          area.pointee.state = .live
          state.pointee.figures.areas &+= 1
          state.pointee.figures.mappedPages &+= byteCount &>> 12
        })
      spare.giveBack(to: frames, machine: machine)
      if isDone { map(pages, content: &content) } else { content.giveBack(to: frames, machine: machine) }
      return isDone
    } catch {
      spare.giveBack(to: frames, machine: machine)
      content.giveBack(to: frames, machine: machine)
      throw error
    }
  }

  /// Links the tables that `pages` lack, and calls `then`, in one step under the lock.
  ///
  /// Tables are allocated without the lock, and other CPUs build and release tables meanwhile. So the missing ones are
  /// counted again, and more are allocated, until there are enough.
  ///
  /// - Returns: `false`, with nothing done, if the state is private and another one has been published meanwhile.
  borrowing func linkTables<Frames: FrameSource & ~Copyable>(
    _ pages: VirtualAddressRange, spare: inout FrameChain, node: NodeID?, in state: VmallocStatePointer,
    frames: borrowing Frames, leaves: (PhysicalAddress, UInt, Int, Int) -> Int,
    then: (UnsafeMutablePointer<VmallocState>) -> Void
  ) throws(VmallocError) -> Bool {
    let tables = tables
    while true {
      let interrupts = machine.lock(state.lock)
      if !state.isPrivate, let location = tables.leafTableDescriptor(of: pages) {
        // The common case: no table is missing, and only the count of one changes.
        let first = pages.lowerBound.rawValue
        let descriptor = machine.readEntry(at: location)
        let table = descriptor.frame.physicalAddress
        let added = leaves(
          TranslationTables<M>.location(of: first, in: table, level: 3), first, pages.pageCount, 3)
        machine.writeEntry(descriptor.withEntryCount(descriptor.entryCount &+ added), at: location)
        then(state.state)
        machine.unlock(state.lock, restoring: interrupts)
        return true
      }
      let survey = tables.survey(pages, shape: .pages, checkingPages: false)
      if let conflict = survey.conflict {
        machine.unlock(state.lock, restoring: interrupts)
        throw .occupied(conflict)
      }
      if spare.count >= survey.missingTables {
        let isShared = !state.isPrivate || publish(state)
        if isShared {
          tables.link(pages, shape: .pages, spare: &spare, leaves: leaves)
          // Other CPUs rely on these tables as soon as the lock is free, and publish only their own stores.
          if survey.linksTables { machine.publishEntries() }
          state.state.pointee.figures.tableFrames &+= survey.missingTables
          then(state.state)
        }
        machine.unlock(state.lock, restoring: interrupts)
        return isShared
      }
      machine.unlock(state.lock, restoring: interrupts)
      try grow(&spare, to: survey.missingTables, node: node, purpose: .pageTable, frames: frames)
    }
  }

  /// Links the tables that `pages`, all of one last-level table, lack, and writes no entry there.
  ///
  /// - Parameter then: gets the location of the first entry, under the lock.
  /// - Returns: as ``linkTables(_:spare:node:in:frames:leaves:then:)``.
  @inline(never)
  borrowing func linkLeafTable<Frames: FrameSource & ~Copyable>(
    _ pages: VirtualAddressRange, spare: inout FrameChain, node: NodeID?, in state: VmallocStatePointer,
    frames: borrowing Frames, then: (UnsafeMutablePointer<VmallocState>, PhysicalAddress) -> Void
  ) throws(VmallocError) -> Bool {
    var found = PhysicalAddress(0)
    return try linkTables(
      pages, spare: &spare, node: node, in: state, frames: frames,
      leaves: { location, _, _, _ in
        found = location
        return 0
      },
      then: { state in then(state, found) })
  }

  /// Writes the leaf entries of an area whose tables are linked; they belong to the area, so no lock is needed.
  borrowing func map(_ pages: VirtualAddressRange, content: inout FrameChain) {
    let tables = tables
    var address = pages.lowerBound
    while address < pages.upperBound {
      var location = tables.existingLeafEntry(at: address).unsafelyUnwrapped
      repeat {
        _check(machine.readEntry(at: location).isEmpty, "a page of a new area is mapped already")
        let frame = content.pop(machine: machine)
        machine.writeEntry(
          .page(frame, .kernelReadWrite, indices: machine.memoryAttributes), at: location)
        location = location + 8
        address = address + 4096
      } while address < pages.upperBound && location.rawValue & 4095 != 0
    }
    machine.publishEntries()
  }

  // MARK: Address space

  /// Takes the lowest fitting addresses and a record for them.
  borrowing func reserve<Frames: FrameSource & ~Copyable>(
    _ shape: AreaShape, _ kind: AreaKind, caller: StaticString, in state: VmallocStatePointer,
    frames: borrowing Frames
  ) throws(VmallocError) -> AreaPointer {
    while true {
      let seen = flushCount
      let interrupts = machine.lock(state.lock)
      let place = state.state.pointee.areas.lowestFit(shape)
      if let place, let record = state.state.pointee.records.take() {
        record.pointee.start = place.start
        record.pointee.base = place.base
        record.pointee.end = place.end
        record.pointee.byteCount = shape.byteCount
        record.pointee.kind = kind
        record.pointee.state = .building
        record.pointee.caller = caller
        state.state.pointee.areas.insert(record, below: place.above)
        machine.unlock(state.lock, restoring: interrupts)
        return record
      }
      let largest = state.state.pointee.areas.largestGap
      machine.unlock(state.lock, restoring: interrupts)
      if place != nil {
        try addRecords(to: state, frames: frames)
      } else if flush(frames: frames) == 0 && flushCount == seen {
        throw .noAddressSpace(
          requestedBytes: shape.byteCount, alignment: Int(bitPattern: shape.alignment),
          largestGapBytes: Int(bitPattern: largest))
      }
    }
  }

  borrowing func addRecords<Frames: FrameSource & ~Copyable>(
    to state: VmallocStatePointer, frames: borrowing Frames
  ) throws(VmallocError) {
    var chain = FrameChain()
    try grow(&chain, to: 1, node: nil, purpose: .metadata, frames: frames)
    let frame = chain.pop(machine: machine)
    let page = RecordPage.make(
      at: machine.pointer(to: frame.physicalAddress), byteCount: pageSize, frame: frame)
    let interrupts = machine.lock(state.lock)
    state.state.pointee.records.addNew(page)
    machine.unlock(state.lock, restoring: interrupts)
  }

  /// Releases the addresses and the record of an area.
  ///
  /// Nothing is mapped there, and no translation can be cached.
  borrowing func unreserve<Frames: FrameSource & ~Copyable>(
    _ area: AreaPointer, in state: VmallocStatePointer, frames: borrowing Frames
  ) {
    let interrupts = machine.lock(state.lock)
    state.state.pointee.areas.remove(area)
    let frame = state.state.pointee.records.put(area)
    machine.unlock(state.lock, restoring: interrupts)
    if let frame { giveBackFrame(frame, to: frames) }
  }

  /// Allocates cleared frames one by one until the chain has `wanted`.
  ///
  /// When memory is short, frames that wait for an invalidation are freed first.
  borrowing func grow<Frames: FrameSource & ~Copyable>(
    _ chain: inout FrameChain, to wanted: Int, node: NodeID?, purpose: FramePurpose, frames: borrowing Frames
  ) throws(VmallocError) {
    while chain.count < wanted {
      let seen = flushCount
      do {
        try chain.grow(to: wanted, node: node, purpose: purpose, from: frames, machine: machine)
      } catch {
        // If nothing was waiting, another CPU's flush may have freed it meanwhile.
        guard case .refused = error, flush(frames: frames) > 0 || flushCount != seen else {
          chain.giveBack(to: frames, machine: machine)
          throw .frames(error)
        }
      }
    }
  }
}

extension VmallocArea: @unchecked Sendable where M: Sendable {}
