// How many freed stacks are worth keeping: as many as were lately taken on top of those in use.
//
//   stacks in use, as the depot sees them
//
//        |           __        rise = 6: with 6 stacks in the depot, none of these would have been made anew
//        |    _     /  \
//        |   / \___/    \__    The rise starts at the lowest point before it: a fall alone, however deep, is no demand.
//        |  /               \
//        +------------------------- time
//        |<---- period ---->|
//
// What a period has shown counts in full until the period after it ends, and then a quarter less with each period: memory
// that nobody asks for any more goes back.

/// The demand for freed stacks, followed from what is taken out of the depot and put in.
///
/// Guarded by the allocator's lock.
struct StackDemand: Equatable {
  /// Stacks taken less stacks returned, since the beginning.
  private var taken = 0
  /// The least that `taken` was in this period.
  private var lowest = 0
  /// By how much it has risen above an earlier low in this period, at most.
  private var rise = 0
  /// What the periods before make worth keeping.
  private var remembered = 0

  init() {}

  /// How many stacks are worth keeping.
  @inline(__always) var wanted: Int { rise > remembered ? rise : remembered }

  /// Notes stacks that were wanted, whether the depot had them or not.
  @inline(__always) mutating func take(_ count: Int) {
    taken &+= count
    let rise = taken &- lowest
    if rise > self.rise { self.rise = rise }
  }

  /// Notes stacks that nobody needs any more, whether the depot keeps them or not.
  @inline(__always) mutating func put(_ count: Int) {
    taken &-= count
    if taken < lowest { lowest = taken }
  }

  /// Begins a new period.
  mutating func endPeriod() {
    let decayed = remembered &- (remembered &+ 3) &>> 2
    remembered = rise > decayed ? rise : decayed
    rise = 0
    lowest = taken
  }
}
