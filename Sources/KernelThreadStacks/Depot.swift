// The depot: freed stacks that all CPUs share, between the magazines and the frame source.
//
//     CPU 0             CPU 1                          an exchange moves half a magazine, under one lock:
//     +----------+      +----------+                     free into a full magazine   its oldest stacks -> depot
//     | magazine |      | magazine |                     allocate from an empty one  depot -> magazine
//     +----------+      +----------+
//          \    exchange     /                         so a CPU that only allocates, or only frees, takes the lock once
//           v               v                          for each half magazine, and one that does both, never
//     +-----------------------------+
//     | depot of node 0 | of node 1 |   at most as many stacks as were lately wanted (StackDemand), and never more than
//     +-----------------------------+   StackConfiguration.depotStacks
//                  | what is too much: a few stacks at a time
//                  v
//          ring, invalidation, frame source
//
// Who may touch it, and when: the holder of the allocator's lock, on any CPU. What changes it takes a LockHeld; counts may be
// read without the lock, as figures. A stack in it is marked as cached and mapped; who takes it out marks it otherwise.

import KernelMachine

/// The depots of all nodes: a view of the allocator's memory.
///
///     count of node 0 | count of node 1 | … | stacks of node 0 | stacks of node 1 | …      8 bytes each
struct Depot {
  /// What all nodes' depots have in common.
  struct State {
    /// How many stacks they hold together.
    fileprivate var count = 0
    fileprivate var demand = StackDemand()

    init() {}
  }

  private let control: UnsafeMutablePointer<StackControl>

  @inline(__always) init(_ control: UnsafeMutablePointer<StackControl>) { self.control = control }

  // MARK: Figures

  /// How many stacks the depots hold together.
  @inline(__always) var count: Int { control.shared.pointee.depot.count }

  /// How many stacks a node's depot holds.
  @inline(__always) func count(ofNode node: Int) -> Int { counts[node] }

  /// How many stacks the depots keep now.
  @inline(__always) var bound: Int {
    let wanted = control.shared.pointee.depot.demand.wanted
    let limit = control.pointee.layout.depotLimit
    return wanted < limit ? wanted : limit
  }

  /// A stack of a node's depot.
  ///
  /// Not checked.
  subscript(node node: Int, index: Int) -> PackedStack { stacks(ofNode: node)[index] }

  // MARK: Demand

  /// Records stacks as wanted, whether the depot had them or not.
  @inline(__always) func noteTaken(_ count: Int, _ held: borrowing LockHeld) {
    control.shared.pointee.depot.demand.take(count)
  }

  /// Records stacks as returned, whether the depot keeps them or not.
  @inline(__always) func noteReturned(_ count: Int, _ held: borrowing LockHeld) {
    control.shared.pointee.depot.demand.put(count)
  }

  /// Ends a period of the demand.
  ///
  /// - Returns: how many stacks the depots keep from now on.
  func endPeriod(_ held: borrowing LockHeld) -> Int {
    control.shared.pointee.depot.demand.endPeriod()
    return bound
  }

  // MARK: Stacks

  /// Puts one stack into its node's depot, which has room.
  @inline(__always) func put(_ stack: PackedStack, _ held: borrowing LockHeld) {
    let count = counts + stack.node
    stacks(ofNode: stack.node)[count.pointee] = stack
    count.pointee &+= 1
    control.shared.pointee.depot.count &+= 1
  }

  /// Whether there is room for as many of a magazine's stacks as one exchange moves, and it has them.
  @inline(__always) func canTakeOldest(
    of record: UnsafeMutablePointer<CPURecord>, _ held: borrowing LockHeld
  ) -> Bool {
    let moved = control.pointee.exchange
    return moved > 0 && moved <= record.pointee.count && count &+ moved <= bound
  }

  /// Takes over a magazine's oldest stacks, for which there is room.
  @inline(__always) func takeOldest(of record: UnsafeMutablePointer<CPURecord>, _ held: borrowing LockHeld) {
    let moved = control.pointee.exchange
    var index = 0
    while index < moved {
      put(record[cached: index], held)
      index &+= 1
    }
    record.dropOldest(moved, held.off)
  }

  /// Takes out a stack of a node, which has one, and some more for the magazine; all of them are recorded as wanted.
  @inline(never) func take(
    node: Int, refilling record: UnsafeMutablePointer<CPURecord>, _ held: borrowing LockHeld
  ) -> PackedStack {
    let count = counts + node
    let stacks = stacks(ofNode: node)
    let last = count.pointee &- 1
    let stack = stacks[last]
    let left = record.refill(from: stacks, count: last, limit: control.pointee.exchange &- 1, held.off)
    let taken = count.pointee &- left
    count.pointee = left
    control.shared.pointee.depot.count &-= taken
    noteTaken(taken, held)
    return stack
  }

  /// Takes out any stack, to give it back; `nil` if no more than `kept` are left.
  func takeAny(keeping kept: Int, _ held: borrowing LockHeld) -> PackedStack? {
    guard count > kept else { return nil }
    var node = control.pointee.layout.nodeCount &- 1
    while node > 0, counts[node] == 0 { node &-= 1 }
    guard counts[node] > 0 else { return nil }
    counts[node] &-= 1
    control.shared.pointee.depot.count &-= 1
    return stacks(ofNode: node)[counts[node]]
  }

  /// Takes out the stack with a base, if it is there.
  func take(base: VirtualAddress, _ held: borrowing LockHeld) -> PackedStack? {
    for node in 0..<control.pointee.layout.nodeCount {
      guard let stack = stacks(ofNode: node).remove(base: base, of: &counts[node]) else { continue }
      control.shared.pointee.depot.count &-= 1
      return stack
    }
    return nil
  }

  // MARK: The memory

  /// Makes empty depots of memory that nobody uses yet.
  func initialize() {
    // All at once would call memset, which a kernel would then have to supply.
    var node = 0
    while node < control.pointee.layout.nodeCount {
      counts[node] = 0
      node &+= 1
    }
  }

  @inline(__always) private var counts: UnsafeMutablePointer<Int> {
    (UnsafeMutableRawPointer(control) + control.pointee.layout.depotOffset).assumingMemoryBound(to: Int.self)
  }

  @inline(__always) private func stacks(ofNode node: Int) -> UnsafeMutablePointer<PackedStack> {
    let layout = control.pointee.layout
    return UnsafeMutableRawPointer(counts + (layout.nodeCount &+ node &* layout.depotLimit))
      .assumingMemoryBound(to: PackedStack.self)
  }
}
