// Allocation of small areas: from a chunk of the current CPU, under that CPU's own lock.
//
// The frames come first, then a place among the CPU's chunks or in a new chunk. After that nothing can fail, and the leaf
// entries are written without a lock, since they belong to the area.

import KernelMachine
import Synchronization

extension VmallocArea {
  /// The number of pages that a small area takes with its guard; 0 if the area is not a small one.
  borrowing func smallPages(size: Int, guardBytes: Int, alignment: Int) -> Int {
    // Neither size is negative, and the bound is a power of two: both are below it if all their bits are.
    guard chunkCount > 0, alignment <= SmallAreas.largestAlignment &<< 12,
      (guardBytes | size) < SmallAreas.largestPages &<< 12
    else { return 0 }
    let pages = (size &+ guardBytes) &>> 12
    return pages <= SmallAreas.largestPages ? pages : 0
  }

  /// The number of the current CPU's record.
  ///
  /// The task may be moved to another CPU at once. It then uses another CPU's record, which the lock allows.
  borrowing func currentRecord() -> Int { machine.currentCPU & (SmallAreas.recordCount &- 1) }

  /// Allocates an area in a chunk; the range has room for chunks.
  ///
  /// - Returns: its address; `nil` if no chunk has room and none can be added, and then nothing has changed.
  borrowing func allocateSmall<Frames: FrameSource & ~Copyable>(
    pages: Int, totalPages: Int, alignment: Int, node: NodeID?, caller: StaticString, frames: borrowing Frames
  ) throws(VmallocError) -> VirtualAddress? {
    var content = FrameChain()
    try grow(&content, to: pages, node: node, purpose: .vmalloc, frames: frames)
    let word = SmallAreaWord(
      state: SmallAreaState.building, totalPages: totalPages, pages: pages,
      payload: SmallAreaWord.payload(for: caller))
    var place: (chunk: SmallChunk, page: Int)?
    do throws(VmallocError) {
      if let state = publishedState() {
        // A range with room for chunks has this in every state.
        let small = state.small.unsafelyUnwrapped
        let cpu = currentRecord()
        let interrupts = machine.lock(small.lock(cpu))
        place = small.take(cpu, totalPages, alignment: alignment)
        if let place { begin(place.chunk, place.page, word, on: small.record(cpu)) }
        machine.unlock(small.lock(cpu), restoring: interrupts)
      }
      if place == nil { place = try makeChunk(for: word, alignment: alignment, frames: frames) }
    } catch {
      content.giveBack(to: frames, machine: machine)
      throw error
    }
    guard let place else {
      content.giveBack(to: frames, machine: machine)
      return nil
    }
    let header = place.chunk.header
    var location = header.pointee.leafTable + place.page &* 8
    while content.count > 0 {
      _check(machine.readEntry(at: location).isEmpty, "a page of a new area is mapped already")
      let frame = content.pop(machine: machine)
      machine.writeEntry(
        .page(frame, .kernelReadWrite, indices: machine.memoryAttributes), at: location)
      location = location + 8
    }
    machine.publishEntries()
    place.chunk.word(place.page).pointee.store(
      word.with(state: SmallAreaState.live).rawValue, ordering: .releasing)
    return VirtualAddress(header.pointee.base &+ UInt(bitPattern: place.page) &<< 12)
  }

  /// Records an area whose pages have been taken; the lock of the CPU is held.
  borrowing func begin(
    _ chunk: SmallChunk, _ page: Int, _ word: SmallAreaWord, on record: UnsafeMutablePointer<CPUAreas>
  ) {
    chunk.word(page).pointee.store(word.rawValue, ordering: .relaxed)
    record.pointee.liveAreas &+= 1
    record.pointee.livePages &+= word.pages
  }

  /// Makes a chunk for the current CPU and takes the place of an area in it.
  ///
  /// - Returns: `nil` if all chunks are in use, or the area does not fit an empty one.
  borrowing func makeChunk<Frames: FrameSource & ~Copyable>(
    for word: SmallAreaWord, alignment: Int, frames: borrowing Frames
  ) throws(VmallocError) -> (chunk: SmallChunk, page: Int)? {
    while true {
      let state = try openState(frames: frames)
      guard let small = state.small, let index = reserveChunk(of: small, in: state) else {
        discard(state, frames: frames)
        return nil
      }
      var place: (chunk: SmallChunk, page: Int)?
      var isShared = false
      var metadata: PageFrame?
      do throws(VmallocError) {
        var spare = FrameChain()
        try grow(&spare, to: 1, node: nil, purpose: .metadata, frames: frames)
        let frame = spare.pop(machine: machine)
        metadata = frame
        let cpu = currentRecord()
        let span = chunkSpan(index)
        let chunk = SmallChunk(
          at: machine.pointer(to: frame.physicalAddress),
          ChunkHeader(base: span.lowerBound.rawValue, frame: frame, index: index, owner: cpu))
        do throws(VmallocError) {
          isShared = try linkLeafTable(
            span, spare: &spare, node: nil, in: state, frames: frames,
            then: { state, location in
              chunk.header.pointee.leafTable = location
              let interrupts = machine.lock(small.lock(cpu))
              if let page = chunk.take(word.totalPages, alignment: alignment) {
                begin(chunk, page, word, on: small.record(cpu))
                place = (chunk, page)
              }
              small.add(chunk, to: cpu)
              machine.unlock(small.lock(cpu), restoring: interrupts)
              state.pointee.chunks &+= 1
            })
          spare.giveBack(to: frames, machine: machine)
        } catch {
          spare.giveBack(to: frames, machine: machine)
          throw error
        }
      } catch {
        if let metadata { giveBackFrame(metadata, to: frames) }
        if !state.isPrivate { small.entry(index).pointee.store(0, ordering: .releasing) }
        discard(state, frames: frames)
        throw error
      }
      if isShared { return place }
      // Another CPU's first allocation was faster: its state is used.
      if let metadata { giveBackFrame(metadata, to: frames) }
      discard(state, frames: frames)
      if let small = publishedState()?.small {
        let cpu = currentRecord()
        let interrupts = machine.lock(small.lock(cpu))
        place = small.take(cpu, word.totalPages, alignment: alignment)
        if let place { begin(place.chunk, place.page, word, on: small.record(cpu)) }
        machine.unlock(small.lock(cpu), restoring: interrupts)
        if let place { return place }
      }
    }
  }

  /// Reserves an index for a new chunk, the lowest that is free.
  borrowing func reserveChunk(of small: SmallAreas, in state: VmallocStatePointer) -> Int? {
    let interrupts = machine.lock(state.lock)
    var index = 0
    while index < chunkCount {
      let entry = small.entry(index)
      if entry.pointee.load(ordering: .relaxed) == 0 {
        entry.pointee.store(SmallAreas.reserved, ordering: .relaxed)
        break
      }
      index &+= 1
    }
    machine.unlock(state.lock, restoring: interrupts)
    return index < chunkCount ? index : nil
  }

  /// The addresses of a chunk.
  borrowing func chunkSpan(_ index: Int) -> VirtualAddressRange {
    VirtualAddressRange(
      VirtualAddress(smallBase &+ UInt(bitPattern: index) &<< 21), byteCount: SmallChunk.byteCount)
  }
}
