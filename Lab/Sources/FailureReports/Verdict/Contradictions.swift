// What cannot be, whatever the bytes were that a report was read from.

extension FileReport {
  /// What contradicts itself in it; empty if nothing does.
  ///
  /// - Parameter lineCount: the number of lines of the file.
  package func contradictions(lineCount: Int) -> [String] {
    var result = failures.flatMap { $0.contradictions(lineCount: lineCount) }
    for row in snapshots.flatMap({ $0.rows + $0.typeRows }) where row.counts.count < 8 {
      result.append("line \(row.line): a row without all orders")
    }
    return result
  }
}

extension Failure {
  fileprivate func contradictions(lineCount: Int) -> [String] {
    var result: [String] = []
    func demand(_ condition: Bool, _ what: String) {
      if !condition { result.append("line \(line), \(cause): \(what): \(sentence)") }
    }
    demand((1...lineCount).contains(line), "no such line")
    demand(evidence.allSatisfy { $0.line.map { (1...lineCount).contains($0) } ?? true }, "evidence of no line")
    demand(hasVerdict == missing.isEmpty, "a verdict with something missing, or none with nothing missing")
    demand(!sentence.isEmpty && !sentence.contains("\n"), "not one sentence")
    demand(Set(helps).isDisjoint(with: helpsNot), "a cure that helps and does not")
    demand(count > 0, "said by no report")
    if let usableFreeBytes, let freeBytes {
      demand(
        usableFreeBytes <= freeBytes || zone == nil || largestFreeBlockBytes != nil, "more usable than free")
    }
    if let largestUsableBlockBytes, let largestFreeBlockBytes {
      demand(largestUsableBlockBytes <= largestFreeBlockBytes, "a usable block larger than any")
    }
    if let requestedBytes, let order, let pageBytes, threadStack == .yes {
      demand(requestedBytes == pageBytes << UInt64(order), "a stack of no order")
    }
    // A verdict has the figures that it rests on.
    switch cause {
    case .fragmentation:
      // Where the size of usable blocks is not known, the largest of all is too small.
      let isLargestTooSmall = largestFreeBlockBytes.map { $0 < requestedBytes ?? 0 } ?? false
      demand(
        order ?? 0 > 0 && zone != nil && freeBytes != nil
          && (largestUsableBlockBytes != nil || isLargestTooSmall), "no figures")
      if let requestedBytes, let largestUsableBlockBytes, stackBytes == requestedBytes {
        demand(largestUsableBlockBytes < 64 * requestedBytes, "far larger blocks than were needed")
      }
    case .shortage:
      demand(order != nil && zone != nil && freeBytes != nil && usableFreeBytes != nil, "no figures")
    case .contiguousReserve:
      demand(freeBytes != nil && usableFreeBytes != nil && usableFreeBytes! < freeBytes!, "nothing reserved")
    case .emptyZone: demand(zone != nil && freeBytes == 0, "memory in an empty zone")
    case .overflow: demand(threadStack == .yes && order == nil, "an overflow that asked for memory")
    case .limit: demand(!helps.isEmpty, "a limit that cannot be raised")
    case .addressSpace, .other, .unknown: break
    }
    return result
  }
}
