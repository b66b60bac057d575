// Freeing of small areas, on any CPU: freed areas wait in that CPU's lists, and each free does a part of the work.
//
//            retire the leaf entries                 one invalidation                     a few pages per free
//   live ------------------------------> pending ------------------------> ready ----------------------------------> free
//            and publish them             (a list)    when enough wait     (a list)   entries emptied, frames go back,
//                                                                                     at last the bits are cleared
//
// A free that makes the invalidation gives no frames back, so that no call pays for both. One that does not gives back
// as many pages as it retires, and `pagesBesides` more, but not fewer than `leastPages`: so the ready list is empty
// before the next invalidation is due, and what waits stays bounded.
//
// All of it happens under the lock of the CPU, with interrupts off; only the frames are freed after.

import KernelMachine
import Synchronization

extension VmallocArea {
  /// The frames that a free gives back beyond the number that it retires.
  static var pagesBesides: Int { 4 }
  /// The least number of frames that a free gives back, if as many are ready.
  static var leastPages: Int { 8 }

  /// Frees the small area at an address that lies in the chunks.
  borrowing func freeSmall<Frames: FrameSource & ~Copyable>(
    _ address: VirtualAddress, _ small: SmallAreas, frames: borrowing Frames
  ) throws(VmallocError) {
    let cpu = currentRecord()
    let record = small.record(cpu)
    let interrupts = machine.lock(small.lock(cpu))
    // From the look-up on, the lock keeps the chunk from being released, even if the address lies in no area.
    let found: (chunk: SmallChunk, page: Int, word: SmallAreaWord)
    do throws(VmallocError) {
      found = try retire(address, small)
    } catch {
      machine.unlock(small.lock(cpu), restoring: interrupts)
      throw error
    }
    let pages = found.word.pages
    let location = found.chunk.header.pointee.leafTable + found.page &* 8
    for page in 0..<pages {
      let entry = location + page &* 8
      machine.writeEntry(machine.readEntry(at: entry).retired, at: entry)
    }
    // The invalidation may be made by another CPU, which publishes only its own stores.
    machine.publishEntries()
    small.push(found.chunk, found.page, found.word, to: &record.pointee.pending)
    record.pointee.lowest = min(record.pointee.lowest, address.rawValue)
    record.pointee.highest = max(record.pointee.highest, address.rawValue &+ UInt(bitPattern: pages) &<< 12)
    record.pointee.liveAreas &-= 1
    record.pointee.livePages &-= pages

    var freed = FrameChain()
    let isEnough =
      record.pointee.pending.areas >= Self.retiredAreasBound
      || record.pointee.pending.pages >= Self.retiredPagesBound
    if isEnough && record.pointee.ready.head == 0 {
      machine.invalidate(Self.takeBounds(record), in: .kernel, scope: .leaves)
      small.move(&record.pointee.pending, to: &record.pointee.ready)
    } else {
      collect(
        &record.pointee.ready, pages: max(pages &+ Self.pagesBesides, Self.leastPages), small, into: &freed)
    }
    machine.unlock(small.lock(cpu), restoring: interrupts)
    freed.giveBack(to: frames, machine: machine)
  }

  /// Takes the bounds of a CPU's pending areas, and resets them.
  static func takeBounds(_ record: UnsafeMutablePointer<CPUAreas>) -> VirtualAddressRange {
    let bounds = VirtualAddressRange(
      VirtualAddress(record.pointee.lowest), VirtualAddress(record.pointee.highest))
    record.pointee.lowest = UInt.max
    record.pointee.highest = 0
    return bounds
  }

  /// Makes a live area a retired one; the address lies in the chunks.
  ///
  /// - Throws: the reason why no live area starts there; nothing has changed then.
  borrowing func retire(
    _ address: VirtualAddress, _ small: SmallAreas
  ) throws(VmallocError) -> (chunk: SmallChunk, page: Int, word: SmallAreaWord) {
    let offset = address.rawValue &- smallBase
    let index = Int(bitPattern: offset &>> 21)
    guard let chunk = small.chunk(index) else { throw .foreignAddress(address) }
    let page = Int(bitPattern: offset &>> 12) & 511
    if page < SmallChunk.usablePages && offset & 4095 == 0 {
      let word = SmallAreaWord(rawValue: chunk.word(page).pointee.load(ordering: .acquiring))
      if word.state == SmallAreaState.live,
        chunk.word(page).pointee.compareExchange(
          expected: word.rawValue, desired: word.with(state: SmallAreaState.retired).rawValue,
          ordering: .acquiring
        ).exchanged
      {
        return (chunk, page, word)
      }
    }
    throw refusal(address, chunk, page)
  }

  /// The reason why no area can be freed at an address.
  borrowing func refusal(
    _ address: VirtualAddress, _ chunk: SmallChunk, _ page: Int
  ) -> VmallocError {
    guard page < SmallChunk.usablePages, let start = chunk.start(of: page) else {
      return .foreignAddress(address)
    }
    let word = SmallAreaWord(rawValue: chunk.word(start).pointee.load(ordering: .relaxed))
    if word.state == SmallAreaState.building { return .foreignAddress(address) }
    let base = VirtualAddress(chunk.header.pointee.base &+ UInt(bitPattern: start) &<< 12)
    return base == address ? .doubleFree(address) : .notTheStart(address, of: base)
  }

  /// Empties up to `pages` entries whose invalidation has completed, and chains their frames.
  ///
  /// The caller is the only user of the list.
  borrowing func collect(
    _ list: inout SmallAreaList, pages: Int, _ small: SmallAreas, into chain: inout FrameChain
  ) {
    var left = pages
    while left > 0 && list.head != 0 {
      let (chunk, page) = small.area(list.head)
      let word = SmallAreaWord(rawValue: chunk.word(page).pointee.load(ordering: .relaxed))
      let count = min(word.pages, left)
      let rest = word.pages &- count
      let location = chunk.header.pointee.leafTable + page &* 8
      for page in rest..<word.pages {
        let entry = location + page &* 8
        chain.push(machine.readEntry(at: entry).frame, machine: machine)
        machine.writeEntry(.empty, at: entry)
      }
      left &-= count
      list.pages &-= count
      if rest > 0 {
        chunk.word(page).pointee.store(
          SmallAreaWord(
            state: SmallAreaState.retired, totalPages: word.totalPages, pages: rest, payload: word.payload
          ).rawValue, ordering: .relaxed)
        return
      }
      list.areas &-= 1
      list.head = UInt32(truncatingIfNeeded: word.payload)
      if list.head == 0 { list.tail = 0 }
      chunk.clear(page, word.totalPages)
    }
  }
}
