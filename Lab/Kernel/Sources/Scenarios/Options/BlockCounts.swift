// How many free blocks there are of each order.

import KernelStacks

/// Numbers of free blocks by order, from 0 to the largest that the page-frame allocator has.
public struct BlockCounts: Equatable, Sendable {
  /// The number of orders.
  public static var orderCount: Int { 11 }

  private var counts = InlineArray<11, Int>(repeating: 0)

  /// No blocks.
  public init() {}

  /// The number of blocks of an order.
  public subscript(order: Int) -> Int {
    get { counts[order] }
    set { counts[order] = newValue }
  }

  /// How many frames they have.
  public var frames: Int {
    var sum = 0
    for order in 0..<Self.orderCount { sum += counts[order] << order }
    return sum
  }

  /// Reads one number for each order, separated by commas: `9927,1119,19,8,2,0,0,0,0,0,0`.
  ///
  /// - Returns: `nil` for anything else, and for more frames than 1 TiB has.
  init?(_ text: UnsafeRawBufferPointer) {
    var order = 0
    var start = 0
    for index in 0...text.count where index == text.count || text[index] == UInt8(ascii: ",") {
      let digits = UnsafeRawBufferPointer(rebasing: text[start..<index])
      guard order < Self.orderCount, let number = ScenarioOptions.number(digits),
        number <= (1 << 28) >> UInt64(order)
      else { return nil }
      counts[order] = Int(number)
      order += 1
      start = index + 1
    }
    guard order == Self.orderCount else { return nil }
  }

  /// Whether there are no more of any order than others.
  func isWithin(_ others: Self) -> Bool {
    for order in 0..<Self.orderCount where counts[order] > others.counts[order] { return false }
    return true
  }

  /// Whether there are as many blocks of every order.
  public static func == (a: Self, b: Self) -> Bool { a.isWithin(b) && b.isWithin(a) }
}
