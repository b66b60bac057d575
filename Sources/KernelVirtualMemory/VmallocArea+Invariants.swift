// The checks of the invariants that hold between operations; compiled only where `INTERNAL_CHECKS` is defined.

import KernelMachine
import Synchronization

#if INTERNAL_CHECKS
  extension VmallocArea {
    /// Stops if the records contradict each other, or, while no other CPU is inside an operation, the tables.
    ///
    /// - Parameter isQuiet: whether no operation is under way on any CPU.
    public borrowing func _checkInvariants(isQuiet: Bool = true) {
      guard let state = publishedState() else { return }
      let interrupts = machine.lock(state.lock)
      let areas = state.state.pointee.areas
      areas.checkInvariants(in: VirtualAddressRange(range.lowerBound, VirtualAddress(smallBase)))
      var live = 0
      var mapped = 0
      var retired = 0
      var waiting = 0
      var area = areas.first
      while area != areas.sentinel {
        live += area.pointee.state == .live ? 1 : 0
        if area.pointee.kind == .general {
          if area.pointee.state == .live { mapped += area.pointee.byteCount &>> 12 }
          if isQuiet { checkPages(of: area.pointee) }
        }
        area = area.pointee.next!
      }
      for batch in [state.state.pointee.retired, state.state.pointee.ready] {
        var next = batch
        while let area = next {
          _check(area.pointee.state == .retired, "an area that waits for an invalidation is in use")
          retired += 1
          waiting += Int(area.pointee.waitingPages)
          next = area.pointee.link
        }
      }
      let figures = state.state.pointee.figures
      _check(!isQuiet || figures.areas == live, "the number of areas in use is wrong")
      _check(!isQuiet || figures.mappedPages == mapped, "the number of mapped pages is wrong")
      _check(!isQuiet || figures.retiredAreas == retired, "the number of waiting areas is wrong")
      _check(!isQuiet || figures.retiredPages == waiting, "the number of waiting pages is wrong")
      _check(!isQuiet || areas.count == live + retired, "an area is neither in use nor waiting")
      if isQuiet {
        checkChunks(state)
        _ = checkCounts(
          tables.root, level: tables.rootLevel, range.lowerBound.rawValue, range.upperBound.rawValue &- 1)
      }
      machine.unlock(state.lock, restoring: interrupts)
    }

    /// The pages of a live area are mapped, those of a retired one are retired, its guard is empty.
    borrowing func checkPages(of area: AreaRecord) {
      var address = area.start
      while address < area.end {
        let location = tables.existingLeafEntry(at: VirtualAddress(address))
        let entry = location.map { machine.readEntry(at: $0) } ?? .empty
        if address &- area.base >= UInt(bitPattern: area.byteCount) {
          _check(entry.isEmpty, "a guard page is mapped")
        } else if area.state == .live {
          _check(entry.isValid, "a page of an area in use is not mapped")
        } else if address &- area.base < UInt(area.waitingPages) &<< 12 {
          _check(entry.isRetired, "a page of a freed area is not retired")
        } else {
          _check(entry.isEmpty, "a page of a freed area was given back, but its entry is not empty")
        }
        address &+= 4096
      }
    }

    /// Bits, words, entries and lists of small areas agree.
    borrowing func checkChunks(_ state: VmallocStatePointer) {
      guard let small = state.small else { return }
      var live = (areas: 0, pages: 0)
      var retired = (areas: 0, pages: 0)
      var chunks = 0
      for index in 0..<chunkCount {
        guard let chunk = small.chunk(index) else {
          _check(small.entry(index).pointee.load(ordering: .relaxed) == 0, "a chunk is being made or released")
          continue
        }
        chunks += 1
        var page = 0
        while page < SmallChunk.usablePages {
          let word = SmallAreaWord(rawValue: chunk.word(page).pointee.load(ordering: .relaxed))
          let isTaken = chunk.bits(page / 64).pointee.load(ordering: .relaxed) >> UInt64(page % 64) & 1 != 0
          _check(isTaken == (word.rawValue != 0), "a page of a chunk is taken, but by no area, or not taken")
          _check(word.state != SmallAreaState.building, "a small area is not finished")
          if word.state == SmallAreaState.live { live = (live.areas + 1, live.pages + word.pages) }
          if word.state == SmallAreaState.retired { retired = (retired.areas + 1, retired.pages + word.pages) }
          for offset in 0..<max(word.totalPages, 1) {
            let entry = machine.readEntry(at: chunk.header.pointee.leafTable + (page + offset) * 8)
            if offset < word.pages {
              _check(
                entry.isValid == (word.state == SmallAreaState.live), "a small area is not mapped, or still is")
              _check(!entry.isEmpty, "a page of a small area has no entry")
            } else {
              _check(entry.isEmpty, "a guard page or a free page has an entry")
            }
            let place = page + offset
            _check(
              word.rawValue == 0
                || chunk.bits(place / 64).pointee.load(ordering: .relaxed) >> UInt64(place % 64) & 1 != 0,
              "a page of a small area is not taken")
          }
          page += max(word.totalPages, 1)
        }
      }
      _check(chunks == state.state.pointee.chunks, "the number of chunks is wrong")
      for cpu in 0..<SmallAreas.recordCount {
        let record = small.record(cpu).pointee
        live = (live.areas - record.liveAreas, live.pages - record.livePages)
        for list in [record.pending, record.ready] {
          retired = (retired.areas - list.areas, retired.pages - list.pages)
        }
        chunks -= record.chunkCount
        guard record.current > 0 else { continue }
        var index = record.current - 1
        for _ in 0..<record.chunkCount {
          let chunk = small.chunk(index)
          _check(chunk?.header.pointee.owner == cpu, "a chunk is in another CPU's ring")
          index = chunk!.header.pointee.next
        }
        _check(index == record.current - 1, "a ring of chunks does not close")
      }
      _check(live == (0, 0), "the figures of live small areas are wrong")
      _check(retired == (0, 0), "the figures of waiting small areas are wrong")
      _check(chunks == 0, "a chunk is in no CPU's ring")
    }

    /// Every descriptor counts the entries of its table, except above leaf tables of stack arenas.
    borrowing func checkCounts(_ table: PhysicalAddress, level: Int, _ first: UInt, _ last: UInt) -> Int {
      var count = 0
      for index in 0..<512 where !machine.readEntry(at: table + index &* 8).isEmpty { count += 1 }
      guard level < 3 else { return count }
      let span: UInt = 1 &<< TranslationTables<M>.shift(level)
      var address = first
      while true {
        let lastOfEntry = min(address | (span &- 1), last)
        let entry = machine.readEntry(
          at: TranslationTables<M>.location(of: address, in: table, level: level))
        _check(!entry.isRetired, "a table is retired while nothing is under way")
        if entry.isValid && entry.isTable {
          let found = checkCounts(entry.frame.physicalAddress, level: level &+ 1, address, lastOfEntry)
          _check(
            entry.entryCount == found || level == 2 && entry.entryCount == 0,
            "a table descriptor miscounts the entries of its table")
          _check(found > 0 || level == 2 && entry.entryCount == 0, "an empty table was left behind")
        }
        if lastOfEntry == last { return count }
        address = lastOfEntry &+ 1
      }
    }
  }

  extension AreaTree {
    /// Order, list, balance and figures.
    func checkInvariants(in range: VirtualAddressRange) {
      var previous: AreaPointer?
      var end = range.lowerBound.rawValue
      var found = 0
      var node: AreaPointer? = first
      while let area = node {
        _check(area.pointee.previous == previous, "the list of areas is broken")
        _check(area.pointee.gapStart == end, "a gap does not begin where the area below ends")
        _check(area.pointee.start >= end, "two areas overlap")
        _check(area == sentinel || area.pointee.end > area.pointee.start, "an area is empty")
        _check(
          area.pointee.base >= area.pointee.start && area.pointee.end >= area.pointee.base,
          "an area begins outside of its bounds")
        end = area.pointee.end
        previous = area
        found += 1
        node = area.pointee.next
      }
      _check(previous == sentinel && end == range.upperBound.rawValue, "the list does not end in the sentinel")
      _check(root.pointee.parent == nil, "the root has a parent")
      var visited = 0
      var last: UInt = 0
      _ = check(root, &visited, &last)
      _check(visited == found && found == count + 1, "the tree and the list differ")
    }

    private func check(_ node: AreaPointer, _ visited: inout Int, _ last: inout UInt) -> Int {
      var heights = (0, 0)
      if let left = node.pointee.left {
        _check(left.pointee.parent == node, "a left child has another parent")
        heights.0 = check(left, &visited, &last)
      }
      _check(node.pointee.start >= last, "the tree is out of order")
      last = node.pointee.end
      visited += 1
      if let right = node.pointee.right {
        _check(right.pointee.parent == node, "a right child has another parent")
        heights.1 = check(right, &visited, &last)
      }
      _check(abs(heights.0 - heights.1) <= 1, "the tree is out of balance")
      _check(!Self.update(node), "a figure of the tree is not up to date")
      return max(heights.0, heights.1) + 1
    }
  }
#else
  extension VmallocArea {
    /// Does nothing; with `INTERNAL_CHECKS`, stops if an invariant does not hold.
    @inline(__always) public borrowing func _checkInvariants(isQuiet: Bool = true) {}
  }
#endif
