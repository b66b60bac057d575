// The initial contents of the metadata: every usable frame free, in the largest blocks that alignment allows.

import KernelMachine

/// Initialized metadata memory: the part of making an allocator that depends on no machine.
struct PreparedMetadata {
  let records: UnsafeMutablePointer<FrameRecord>
  let nodes: UnsafeMutablePointer<NodeRecord>
  let cpuLists: UnsafeMutablePointer<CPUFrameLists>
  let ranges: UnsafeMutablePointer<RangeRecord>
  let totalFrames: Int

  /// The most CPUs that can keep lists.
  static var cpuLimit: Int { 4096 }

  init(
    _ map: borrowing PhysicalMemoryMap, cpuCount: Int, in metadata: UnsafeMutableRawBufferPointer
  ) throws(PhysicalMemoryError) {
    guard cpuCount >= 0, cpuCount <= Self.cpuLimit else {
      throw .invalidCPUCount(cpuCount, limit: Self.cpuLimit)
    }
    let layout = MetadataLayout(map, cpuCount: cpuCount)
    totalFrames = map.usableFrames
    guard totalFrames > 0 else { throw .noUsableMemory(totalFrames: map.totalFrames) }
    guard layout.listHeads + map.nodeCount * 11 <= Int(UInt32.max) else {
      throw .tooManyFrames(map.totalFrames)
    }
    // Any alignment is accepted, so the promised size includes what rounding up may skip.
    let needed = layout.byteCount + MetadataLayout.alignment - 1
    guard metadata.count >= needed, let memory = metadata.baseAddress else {
      throw .metadataTooSmall(neededBytes: needed, givenBytes: metadata.count)
    }

    // Why these pointers are sound: (1) `base` and the whole layout lie in the caller's buffer, by the check above;
    // (2) each part starts at a multiple of its type's alignment, since 64, 64, 32 divide the offsets before it;
    // (3) the types are trivial, every element is initialized below before it is read, and nothing is deinitialized.
    let base = memory.alignedUp(toMultipleOf: MetadataLayout.alignment)
    nodes = base.bindMemory(to: NodeRecord.self, capacity: map.nodeCount)
    cpuLists = (base + layout.listsOffset).bindMemory(to: CPUFrameLists.self, capacity: cpuCount)
    ranges = (base + layout.rangesOffset).bindMemory(to: RangeRecord.self, capacity: map.memoryRangeCount)
    records = (base + layout.recordsOffset)
      .bindMemory(to: FrameRecord.self, capacity: layout.listHeads + map.nodeCount * 11)

    for node in 0..<map.nodeCount {
      let heads = layout.listHeads + node * 11
      (nodes + node).initialize(to: NodeRecord(listHeads: UInt32(heads)))
      for index in heads..<heads + 11 {
        (records + index).initialize(
          to: FrameRecord(next: UInt32(index), previous: UInt32(index), tag: .absent))
      }
    }

    // With one node every CPU's home is known; with several, each CPU settles it at its first request.
    for cpu in 0..<cpuCount {
      (cpuLists + cpu).initialize(to: CPUFrameLists(home: map.nodeCount == 1 ? 0 : -1))
    }

    var index = 0
    for number in 0..<map.memoryRangeCount {
      let range = map.memoryRange(at: number)
      let padded = MetadataLayout.paddedBounds(range)
      let record = RangeRecord(
        firstFrame: range.firstFrame.number, frameCount: UInt(range.frameCount),
        bias: padded.first &- UInt(index), node: range.node.index)
      (ranges + number).initialize(to: record)
      (records + index).initialize(
        repeating: FrameRecord(next: 0, previous: 0, tag: .absent), count: padded.count)
      // `makeFree` below turns usable frames into blocks; the rest stays reserved.
      (records + Int(record.firstFrame &- record.bias)).update(
        repeating: FrameRecord(
          next: 0, previous: 0, tag: FrameTag(range: UInt32(number), state: FrameState.reserved)),
        count: range.frameCount)
      index += padded.count
    }

    // From high to low, so that the lists begin with the lowest block.
    map.forEachUsableRunDescending { number, run in makeFree(run, range: number) }
    guard cpuCount > 0 else { return }
    for node in 0..<map.nodeCount { nodes[node].limitZeroedPool() }
  }
}

extension NodeRecord {
  /// Sets the most frames that the pool holds, by the frames that the node has.
  mutating func limitZeroedPool() {
    zeroedPoolLimit = min(Self.zeroedPoolLimit, totalFrames / Self.zeroedPoolShare)
  }

  /// The most zeroed frames that a node keeps, however large it is: 4 MiB.
  static var zeroedPoolLimit: Int { 1024 }
  /// The divisor of a small node's memory that gives its limit of zeroed frames: a 64th.
  static var zeroedPoolShare: Int { 64 }
}

extension PreparedMetadata {
  /// Cuts a run of frames into the largest aligned blocks, and puts them into the free lists.
  private func makeFree(_ run: ReservedRange, range number: Int) {
    let range = ranges[number]
    let node = nodes + range.node
    let first = Int(run.firstFrame.number &- range.bias)
    (records + first).update(
      repeating: FrameRecord(
        next: 0, previous: 0, tag: FrameTag(range: UInt32(number), state: FrameState.inside)),
      count: run.frameCount)
    node.pointee.totalFrames += run.frameCount
    node.pointee.freeFrames += run.frameCount

    FreeLists(records: records, node: node).forEachBlock(in: first..<first + run.frameCount) {
      lists, index, order in
      lists.push(
        index, order: order,
        tag: FrameTag(range: UInt32(number), state: FrameState.free, order: UInt32(order)))
    }
  }
}

extension UnsafeMutableRawPointer {
  fileprivate func alignedUp(toMultipleOf alignment: Int) -> Self {
    self + Int(bitPattern: 0 &- UInt(bitPattern: self)) & (alignment - 1)
  }
}
