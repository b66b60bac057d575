// What one zone could have done for the request.

/// How a zone answers a request, by its report.
enum ZoneOutcome: Equatable {
  /// It has no memory at all.
  case empty
  /// It has too little, reserves not counted.
  case short
  /// It has enough, but no usable block that is large enough.
  case noBlock
  /// It has no usable block that is large enough; whether it has enough memory is not known.
  case refused
  /// It has such a block, and refuses it because too much of its memory lies in smaller ones (before 4.4).
  case refusedBySmallBlocks
  /// It has what was asked for.
  case served
  /// Its figures are not enough to tell.
  case unknown
}

/// A zone, its list, and what follows.
struct ZoneAssessment {
  var zone: Zone?
  var list: FreeList?
  var name: String
  var node: Int?
  var outcome: ZoneOutcome = .unknown
  /// What is free for the request, at most.
  var usable: ClosedRange<UInt64>?
  /// The watermark with what is kept from the request, at most.
  var required: UInt64?
  /// What of the free memory is in reserves, at least.
  var reserved: UInt64 = 0
  /// What would be needed to know the outcome.
  var missing: [String] = []

  var free: UInt64? { zone?.free.value ?? list?.total }

  /// Whether the zone would have enough if the request could use its reserves.
  var isShortByReserves: Bool {
    guard outcome == .short, let zone, let required else { return false }
    return zone.free.value > required
  }

  var place: String { (node.map { "node \($0), " } ?? "") + "zone \(name)" }
}

/// What a request and its kernel mean for every zone.
struct RequestRules {
  var order: Int
  var mode: AllocationMode?
  var highestZone: String
  var pageBytes: UInt64?
  /// Whether the kernel applies the watermark to each order; `nil` if its version is unknown.
  var perOrder: Bool?
  /// Whether blocks without letters may be used by any request: before 3.5 there was no other kind.
  var lettersAbsent: Bool
  /// Whether the whole machine has no memory in the contiguous allocator.
  var hasNoContiguous: Bool
  /// Names of all zones.
  var names: Set<String>
  /// Whether zones may be missing from them.
  var mayLackZones: Bool

  /// Assesses a zone.
  func assess(_ zone: Zone?, _ list: FreeList?, name: String, node: Int?) -> ZoneAssessment {
    var result = ZoneAssessment(zone: zone, list: list, name: name, node: node)
    guard let zone else {
      if let list, list.sum == 0, list.total == 0, list.orders.isEmpty {
        result.outcome = .empty
      } else {
        if let list, lacksBlock(list) { result.outcome = .refused }
        result.missing.append("the line of \(result.place) with free, min and low")
      }
      return result
    }
    // A list that says "empty" of a zone with free memory is another report's.
    let list = list?.orders.isEmpty == true && zone.free.value > 0 ? nil : list
    result.list = list
    if isEmpty(zone, list) {
      result.outcome = .empty
      return result
    }
    if zone.free.value == 0, zone.managed == nil, zone.present == nil {
      // Full or not there.
      result.missing.append("the end of the line of \(result.place), with present")
      return result
    }
    let page = pageBytes ?? 4096
    let usable = usable(zone, list)
    let reserve = reserve(of: zone, page: page)
    let watermark = Watermark(
      pageBytes: page, order: order, usable: usable, minimum: Watermark.minimum(zone.min.value, for: mode),
      reserve: reserve)
    result.usable = usable
    result.reserved = zone.free.value - usable.upperBound
    result.required = watermark.minimum &+ reserve.upperBound
    if reserve.upperBound == Self.unknownReserve { result.required = watermark.minimum }
    switch watermark.isPassed {
    case .no: result.outcome = .short
    case .unknown:
      if let list, lacksBlock(list) { result.outcome = .refused }
      if usable.lowerBound != usable.upperBound {
        result.missing.append("free_cma in the line of \(result.place), which is cut off")
      } else {
        result.missing.append("lowmem_reserve[] behind the line of \(result.place)")
      }
    case .yes:
      if order == 0 {
        result.outcome = .served
      } else if let list {
        assessBlocks(list, watermark, &result)
      } else {
        result.missing.append("the free list of \(result.place) with its total")
      }
    }
    return result
  }

  private func assessBlocks(_ list: FreeList, _ watermark: Watermark, _ result: inout ZoneAssessment) {
    let large = list.orders.indices.filter { $0 >= order }.map {
      list.orders[$0].usable(lettersAbsent: lettersAbsent)
    }
    let surely = large.contains { $0.lowerBound > 0 }
    let perhaps = large.contains { $0.upperBound > 0 }
    if !perhaps {
      result.outcome = .noBlock
      return
    }
    let refusing = watermark.refusingOrder(of: list) != nil
    switch perOrder {
    case true? where refusing: result.outcome = .refusedBySmallBlocks
    case true?, false?:
      if surely {
        result.outcome = .served
      } else {
        result.missing.append("the letters of the free blocks of \(result.place)")
      }
    case nil:
      if surely && !refusing {
        result.outcome = .served
      } else if refusing {
        result.missing.append("the kernel's version (the line with CPU, PID and Comm)")
      } else {
        result.missing.append("the letters of the free blocks of \(result.place)")
      }
    }
  }

  /// Whether a list surely has no block for the request.
  private func lacksBlock(_ list: FreeList) -> Bool {
    order > 0
      && list.orders.indices.allSatisfy {
        $0 < order || list.orders[$0].usable(lettersAbsent: lettersAbsent).upperBound == 0
      }
  }

  private func isEmpty(_ zone: Zone, _ list: FreeList?) -> Bool {
    guard zone.free.value == 0 else { return false }
    if let managed = zone.managed { return managed.value == 0 }
    if let present = zone.present { return present.value == 0 }
    return false
  }

  /// What of a zone's free memory a request of the kernel may use.
  private func usable(_ zone: Zone, _ list: FreeList?) -> ClosedRange<UInt64> {
    var least = zone.free.value
    var most = zone.free.value
    func take(_ bytes: UInt64, atLeastToo: Bool = true) {
      least -= min(least, bytes)
      if atLeastToo { most -= min(most, bytes) }
    }
    if let cma = zone.cma {
      take(cma.value)
    } else if !zone.isComplete && !hasNoContiguous {
      least = 0
    }
    if let free = zone.freeHighAtomic {
      take(free.value)
    } else if let list {
      let named = list.orders.indices.filter { list.orders[$0].types?.contains(.highAtomic) ?? false }
      let pure = named.filter { list.orders[$0].types == .highAtomic }
      let pureBytes = pure.reduce(UInt64(0)) { $0 &+ list.orders[$1].count &* list.blockBytes($1) }
      take(pureBytes)
      if pure.count < named.count, let reserved = zone.highAtomic {
        take(reserved.value - min(reserved.value, pureBytes), atLeastToo: false)
      }
    } else if let reserved = zone.highAtomic {
      take(reserved.value, atLeastToo: false)
    }
    return least...most
  }

  /// Stands for a reserve that was not printed.
  private static let unknownReserve = UInt64.max >> 1

  /// What a zone keeps from requests that could have used higher zones.
  private func reserve(of zone: Zone, page: UInt64) -> ClosedRange<UInt64> {
    if ZoneName.rank(zone.name) >= ZoneName.rank(highestZone) { return 0...0 }
    guard !zone.lowmemReserve.isEmpty else {
      // The highest zone that there is keeps nothing.
      let isHighest = !names.contains {
        $0 != zone.name && ZoneName.rank($0) > ZoneName.rank(zone.name)
          && ZoneName.rank($0) <= ZoneName.rank(highestZone)
      }
      return isHighest && !mayLackZones ? 0...0 : 0...Self.unknownReserve
    }
    let places = ZoneOrder.indices(of: highestZone, count: zone.lowmemReserve.count, names: names)
    let values = places.map { zone.lowmemReserve[$0] }
    guard let low = values.min(), let high = values.max() else { return 0...Self.unknownReserve }
    let largestPage = pageBytes ?? 65536
    return low &* page...high &* largestPage
  }
}
