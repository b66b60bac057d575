// Which zones a request may use, and what each keeps from it.

/// The zones of a kernel, in the order in which `lowmem_reserve[]` lists them.
enum ZoneOrder {
  /// Every place in an array of `count` reserves that can be the one of `zone`, on a kernel that has all zones of `names`.
  ///
  /// A kernel is built with some of the zones; the array has one entry for each, memory or not.
  static func indices(of zone: String, count: Int, names: Set<String>) -> Set<Int> {
    var result: Set<Int> = []
    for choice in 0..<32 {
      var sequence: [String] = []
      for (index, name) in ZoneName.all.enumerated() {
        // Every kernel has the zone Normal; five others depend on its configuration.
        let bit = index < 2 ? index : index - 1
        if name == "Normal" || choice >> bit & 1 == 1 { sequence.append(name) }
      }
      guard sequence.count == count, names.isSubset(of: Set(sequence)) else { continue }
      // Where the highest zone that the flags allow does not exist, the next lower one counts.
      let allowed = sequence.lastIndex { ZoneName.rank($0) <= ZoneName.rank(zone) }
      if let allowed { result.insert(allowed) }
    }
    return result
  }
}
