// How much memory stacks take, counted from the frames behind them, in shares that each CPU keeps for itself.
//
// What is counted is mapping and unmapping. A stack that goes into a magazine and comes out again changes no count: what
// is in use is what is mapped less what the magazines and depots have.

import KernelMachine
import Synchronization

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Adds a stack's frames to the counts of this CPU, or takes them off, where they are of several nodes, or not all there:
  /// each frame is looked up.
  @inline(never)
  func accountPages(
    _ stack: PackedStack, _ sign: Int, in record: UnsafeMutablePointer<CPURecord>,
    _ off: borrowing InterruptsOff
  ) {
    var rest = pages(ofBase: stack.base)
    while let location = rest.popFirst() {
      let entry = machine.readEntry(at: location)
      if entry.isEmpty { continue }
      let node = layout.nodeCount == 1 ? 0 : frames.node(of: entry.frame).index
      record.countMapped(sign, ofNode: node, off)
    }
  }

  /// The name of the lock at an address, for reports of waits; `nil` if it is not this allocator's, which has one.
  public borrowing func lockName(at address: UInt) -> StaticString? {
    UInt(bitPattern: lock) == address ? "stackSlotsAndDepot" : nil
  }

  /// The memory of the stacks in use on a node, in KiB, from the frames actually behind them.
  ///
  /// Cached stacks are not in use; the boot stack is part of the image. 0 for a node that does not exist. Exact when no
  /// other CPU is allocating or freeing.
  public borrowing func kernelStackKiB(on node: NodeID) -> Int {
    guard node.index >= 0, node.index < layout.nodeCount else { return 0 }
    var sum = 0
    for cpu in 0..<layout.cpuCount {
      sum &+= record(ofCPU: cpu).mappedFrames(ofNode: node.index)
      if isGrowing { sum &+= grownFrames(of: reserve(ofCPU: cpu))[node.index] }
    }
    return (sum &- cachedFrames(on: node.index)) &* 4
  }

  /// The frames of a node behind cached stacks.
  @inline(never) private borrowing func cachedFrames(on node: Int) -> Int {
    if layout.nodeCount == 1 { return cachedStackCount &* control.pointee.initialPages }
    var sum = 0
    for cpu in 0..<layout.cpuCount {
      let record = record(ofCPU: cpu)
      for index in 0..<record.pointee.count { sum &+= frameCount(of: record[cached: index], on: node) }
    }
    for home in 0..<layout.nodeCount {
      for index in 0..<depot.count(ofNode: home) { sum &+= frameCount(of: depot[node: home, index], on: node) }
    }
    return sum
  }

  /// How many frames of a cached stack are of a node.
  borrowing func frameCount(of stack: PackedStack, on node: Int) -> Int {
    if !stack.isMixed { return stack.node == node ? control.pointee.initialPages : 0 }
    var count = 0
    var rest = pages(ofBase: stack.base)
    while let location = rest.popFirst() {
      let entry = machine.readEntry(at: location)
      if !entry.isEmpty, frames.node(of: entry.frame).index == node { count &+= 1 }
    }
    return count
  }

  /// How many stacks are in use: slots that are neither cached nor retired, quarantined ones included; of linear stacks,
  /// their frames, divided by those that each has.
  public var liveStackCount: Int {
    if !isLinear { return usedSlotCount &- cachedStackCount &- retiredStackCount }
    var sum = 0
    for node in 0..<layout.nodeCount { sum &+= kernelStackKiB(on: NodeID(node)) }
    return (sum &* 1024) &>> pageShift / geometry.pageCount
  }

  /// How many freed stacks lie in the magazines of all CPUs and in the depot.
  public var cachedStackCount: Int {
    var sum = depot.count
    for cpu in 0..<layout.cpuCount { sum &+= record(ofCPU: cpu).pointee.count }
    return sum
  }

  /// How many freed stacks the depot holds.
  public var depotStackCount: Int { depot.count }

  /// How many freed stacks the depot would hold at most now: what recent demand makes worth keeping, up to
  /// ``StackConfiguration/depotStacks``.
  public var depotStackLimit: Int { depot.bound }

  /// How many unmapped stacks have not yet given their frames back.
  public var retiredStackCount: Int { ring.count }

  /// How many stacks were made of new frames, because neither magazine nor depot had one.
  public var coldAllocationCount: Int {
    var sum = 0
    for cpu in 0..<layout.cpuCount { sum &+= Int(record(ofCPU: cpu).pointee.coldAllocations) }
    return sum
  }

  /// How many freed stacks were unmapped, because neither magazine nor depot kept them.
  public var overflowCount: Int {
    var sum = 0
    for cpu in 0..<layout.cpuCount { sum &+= Int(record(ofCPU: cpu).pointee.overflows) }
    return sum
  }

  /// How many stacks were dropped without being freed.
  ///
  /// They stay counted as in use, for their frames are.
  public var lostStackCount: Int { control.pointee.lostStacks.load(ordering: .relaxed) }

  /// How many blocks the frame source refused to take back: someone else had freed them.
  public var refusedFreeCount: Int { control.pointee.refusedFrees.load(ordering: .relaxed) }

  /// How many slots hold a stack: in use, cached, or not yet given back.
  public var usedSlotCount: Int { slots.used }

  /// How many stacks there can be at a time; 0 for ``StackStrategy/linear``, which memory alone bounds.
  public var capacity: Int { layout.capacity }

  /// The bytes of the allocator's own records.
  ///
  /// Page tables are the arena's.
  public var metadataByteCount: Int {
    control.pointee.metadataFrame == nil ? layout.byteCount : pageSize &<< layout.order
  }

  /// How many of these bytes are there for each CPU: magazine, counts, reserve, credits of groups, and its share of the refill pool
  /// and of the records of slots.
  public var metadataBytesForEachCPU: Int {
    layout.cpuStride &+ layout.creditStride &+ layout.reserveLimit &* ReservedFrame.bytes
      &+ (isLinear ? 0 : MemoryLayout<SlotGroup>.stride &<< layout.tableShift)
  }

  /// Writes one line: the strategy, what is in use, and the memory of each node.
  public borrowing func writeReport<Sink: TextSink>(to sink: inout Sink) {
    sink.write(configuration.strategy.name)
    sink.write(" stacks of ")
    sink.write(byteCount: geometry.size)
    sink.write(": %d in use", liveStackCount)
    sink.write(", %d cached", cachedStackCount)
    if !isLinear {
      sink.write(", %d unmapped", retiredStackCount)
      sink.write(", %d of %d", usedSlotCount, layout.capacity)
      sink.write(" slots of ")
      sink.write(byteCount: geometry.stride)
    }
    for node in 0..<layout.nodeCount {
      sink.write(", node %d: %d KiB", node, kernelStackKiB(on: NodeID(node)))
    }
    if isGrowing { sink.write(", reserve of %d frames", reservedFrameCount) }
    if lostStackCount > 0 { sink.write(", %d lost", lostStackCount) }
    if refusedFreeCount > 0 { sink.write(", %d frees refused", refusedFreeCount) }
  }
}
