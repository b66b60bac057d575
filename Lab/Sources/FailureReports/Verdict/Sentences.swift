// The first sentence of a diagnosis: with numbers, and without words of kernels that could be spared.

/// Writes the sentence of a verdict.
enum Sentences {
  static func write(_ failure: inout Failure, _ verdict: Verdict, _ shown: ZoneAssessment?) {
    failure.sentence = sentence(failure, verdict, shown)
  }

  private static func sentence(_ failure: Failure, _ verdict: Verdict, _ shown: ZoneAssessment?) -> String {
    let subject = subject(failure, verdict)
    let place = shown.map { " in \($0.place)" } ?? ""
    let free = failure.freeBytes.map(Size.text) ?? "an unknown amount"
    let usable = failure.usableFreeBytes.map(Size.text) ?? free
    switch failure.cause {
    case .fragmentation:
      let need = failure.requestedBytes.map(Size.text) ?? "2^\(failure.order ?? 0) pages"
      let zone =
        verdict.assessments.first { $0.outcome == .noBlock || $0.outcome == .refusedBySmallBlocks } ?? shown
      let total = Size.text(zone?.free ?? failure.freeBytes ?? 0)
      if zone?.outcome == .refusedBySmallBlocks {
        return
          "\(subject) because \(possessive(failure)) \(need) in one piece: \(total) were free, but nearly all of it in smaller pieces, and this kernel does not give away the last large ones."
      }
      let largest =
        zone?.list?.largestUsableBlockBytes(lettersAbsent: verdict.rules.lettersAbsent)
        ?? failure.largestUsableBlockBytes
      let piece =
        largest.map {
          $0 == 0 ? "no piece of it was usable" : "no usable piece was larger than \(Size.text($0))"
        } ?? "no piece was large enough"
      return "\(subject) because \(possessive(failure)) \(need) in one piece: \(total) were free, but \(piece)."
    case .shortage:
      let need = shown?.required.map(Size.text) ?? "what the kernel keeps for emergencies"
      let reserved = (shown?.reserved ?? 0) > 0 ? " (of \(free) free, the rest is reserved)" : ""
      return
        "\(subject) because memory has run out: only \(usable)\(reserved) could be used\(place), which is below the \(need) that the kernel keeps back."
    case .contiguousReserve:
      return
        "\(subject) although \(free) were free\(place), because all but \(usable) of it is reserved for devices (CMA) or emergencies."
    case .emptyZone:
      return
        "\(subject) because it must come from zone \(failure.zone ?? verdict.rules.highestZone), and this machine has no memory in that zone."
    case .limit:
      return "\(subject) because it was bound to some of the machine's memory nodes, and those were full."
    case .addressSpace:
      let size = failure.requestedBytes.map(Size.text) ?? "a range"
      let memory =
        failure.freeBytes.map { ": \(Size.text($0)) of memory were free, but the addresses ran out" } ?? ""
      return
        "\(subject) because no range of \(size) was left in \(isModule(verdict) ? "the range of addresses for modules" : "the kernel's range of addresses for mapped memory")\(memory)."
    case .other:
      if verdict.report.request?.isByHand == true {
        return "Nothing failed: the OOM killer was called by hand."
      }
      if verdict.report.request?.isRefusedAlways == true {
        let size = failure.requestedBytes ?? 0
        return size == 0
          ? "\(subject) because it asked for 0 bytes, which is always refused: neither memory nor addresses ran out."
          : "\(subject) because it asked for \(Size.text(size)), which is more than the machine has memory."
      }
      return
        "\(subject) although the report shows memory that would have served it: \(usable) usable\(place), pieces of up to \(failure.largestUsableBlockBytes.map(Size.text) ?? "unknown size"); it had probably come back by the time of the report."
    case .overflow: return ""
    case .unknown:
      let what = failure.missing.first.map { "; what is needed first: \($0)" } ?? ""
      return "\(subject), but the log does not say enough to tell why\(tight(failure, verdict, shown))\(what)."
    }
  }

  private static func tight(_ failure: Failure, _ verdict: Verdict, _ shown: ZoneAssessment?) -> String {
    guard verdict.report.request == nil, let zone = shown?.zone, let low = zone.low,
      zone.free.value < low.value, let shown
    else { return "" }
    return
      " (\(shown.place) is down to \(Size.text(zone.free.value)), its minimum being \(Size.text(zone.min.value)), while other zones have more)"
  }

  private static func isModule(_ verdict: Verdict) -> Bool {
    verdict.report.trace.entries.contains {
      $0.name.hasPrefix("module_alloc") || $0.name == "load_module" || $0.name.hasPrefix("execmem_alloc")
        || $0.name.hasPrefix("bpf_jit")
    }
  }

  private static func possessive(_ failure: Failure) -> String {
    failure.threadStack == .yes ? "the kernel stack of a new thread needs" : "the request was for"
  }

  /// Who could not do what.
  private static func subject(_ failure: Failure, _ verdict: Verdict) -> String {
    let name = failure.process ?? verdict.report.trace.entries.last.map { _ in "A program" } ?? "A request"
    guard verdict.report.request != nil || verdict.report.slab != nil else {
      return "Something failed for want of memory"
    }
    if verdict.report.request?.kind == .fork { return "\(name) could not start another process" }
    switch failure.threadStack {
    case .yes: return "\(name) could not start a process or thread"
    case .no: return "\(failure.process ?? "The kernel") got no memory (not for a thread's stack)"
    case .unknown: return "\(failure.process ?? "The kernel") got no memory"
    }
  }
}
