// The kernel's own test of whether a zone has memory for a request (mm/page_alloc.c, `__zone_watermark_ok`).

/// The answer to a test that may lack figures.
enum Answer: Equatable {
  case yes, no, unknown
}

/// A zone's test for a request of one order.
struct Watermark {
  /// The size of a page.
  var pageBytes: UInt64
  var order: Int
  /// What is free for such a request, at least and at most.
  var usable: ClosedRange<UInt64>
  /// The watermark as far as it applies to such a request.
  var minimum: UInt64
  /// What is kept from requests that could use higher zones, at least and at most.
  var reserve: ClosedRange<UInt64>

  /// The watermark of a request: those that may not wait may go below it.
  static func minimum(_ value: UInt64, for mode: AllocationMode?) -> UInt64 {
    guard let mode else { return value }
    var minimum = value
    if mode.isUrgent { minimum -= minimum / 2 }
    if mode.mayWait == false { minimum -= minimum / 4 }
    return minimum
  }

  /// Whether the zone has enough, wherever it lies.
  var isPassed: Answer {
    let others = (UInt64(1) << UInt64(order) - 1) * pageBytes
    func remaining(_ free: UInt64) -> UInt64 { free > others ? free - others : 0 }
    if remaining(usable.lowerBound) > minimum &+ reserve.upperBound { return .yes }
    if remaining(usable.upperBound) <= minimum &+ reserve.lowerBound { return .no }
    return .unknown
  }

  /// The first order below the request's at which kernels before 4.4 refuse, or `nil` if they don't.
  ///
  /// They take blocks too small for the request off what is free, order by order, and halve the watermark each time.
  func refusingOrder(of list: FreeList) -> Int? {
    var free = Int64(clamping: usable.upperBound / pageBytes) - Int64(1) << Int64(order) + 1
    var limit = Int64(clamping: minimum / pageBytes)
    for smaller in 0..<order {
      guard smaller < list.orders.count else { return nil }
      free -= Int64(clamping: list.orders[smaller].count) << Int64(smaller)
      limit >>= 1
      if free <= limit { return smaller }
    }
    return nil
  }
}
