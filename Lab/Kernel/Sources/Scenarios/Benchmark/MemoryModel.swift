// The model of caches and TLBs that may watch the machine from outside, as measurements see it (Lab/MemoryModel).
//
// It sees where an operation begins and ends, since both are readings of the instruction counter. It numbers the operations, and
// sums of them: these numbers are all that is kept here.

/// What a machine can ask a memory model for.
public struct MemoryModel {
  /// The number of the operation that was measured last.
  public var latest: @convention(c) () -> Int
  /// Adds the second operation or sum to the first, and returns the sum's number; 0 is nothing.
  public var add: @convention(c) (Int, Int) -> Int
  /// Writes a line with the means of an operation or a sum.
  public var write: @convention(c) (Int) -> Void

  /// Makes a model of what a machine calls.
  public init(
    latest: @escaping @convention(c) () -> Int, add: @escaping @convention(c) (Int, Int) -> Int,
    write: @escaping @convention(c) (Int) -> Void
  ) {
    self.latest = latest
    self.add = add
    self.write = write
  }
}

/// The model that watches; set before the first measurement, if there is one.
nonisolated(unsafe) public var memoryModel: MemoryModel?

/// The number of the operation that was measured last; 0 without a model.
///
/// Always a call, so that what is measured before it is compiled as it would be without it.
@inline(never)
public func latestModelledOperation() -> Int { memoryModel?.latest() ?? 0 }

/// The number of the sum of two operations or sums; 0 without a model.
@inline(never)
public func modelledSum(_ first: Int, _ second: Int) -> Int { memoryModel?.add(first, second) ?? 0 }

/// Writes the means of an operation or sum, if there is a model.
@inline(never)
public func writeModelled(_ number: Int) { memoryModel?.write(number) }
