// The table walk: the result of an access, and the other results that it could have had.

import KernelMachine
import SeededRandom

/// One access to be translated.
struct TranslationRequest {
  var address: UInt
  var space: UInt16
  var access: MemoryAccess
  var privilege: Privilege
  var cpu: Int
  /// The ASID that is current on the CPU.
  var asid: UInt16
}

enum TranslationOutcome: Equatable {
  case address(UInt)
  case fault(SimulatedFault.Kind, level: Int)

  var frame: UInt? {
    if case .address(let address) = self { address >> 12 } else { nil }
  }
}

extension TranslationTracker {
  /// Whether an address of the linear map has no tables, and counts as mapped 1:1.
  func isDirectlyMapped(_ address: UInt) -> Bool {
    let level = split.rootLevel
    return memory[word: (kernelRoot << 12) + AddressSplit.index(address, level) * 8] & 1 == 0
  }

  /// Translates an address, and reports the use of a translation that is, or could be, stale.
  ///
  /// Where the CPU sets access flags, the access sets one; where it keeps dirty state, a store marks the entry.
  func translate(
    _ request: TranslationRequest, seed: UInt64, random: inout SplitMix64
  ) -> TranslationOutcome {
    let outcome = resolve(request, seed: seed, random: &random)
    guard case .address = outcome else { return outcome }
    if updatesAccessFlags { updateAccessFlag(request, seed: seed) }
    if tracksDirtyPages, request.access == .write { updateDirtyState(request, seed: seed) }
    return outcome
  }

  private func resolve(
    _ request: TranslationRequest, seed: UInt64, random: inout SplitMix64
  ) -> TranslationOutcome {
    guard let space = spaces[request.space] else { return .fault(.translation, level: split.rootLevel) }
    let newest = walk(request, space.root, split.rootLevel)
    var outcome = newest
    if !pending.isEmpty { outcome = walkPublished(request, space.root, newest, &random) }
    guard !stale.isEmpty else { return outcome }
    for level in split.rootLevel...3 {
      let key = Self.staleKey(request.space, level, request.address)
      guard let items = stale[key] else { continue }
      for (position, item) in items.enumerated() where item.asids?.contains(request.asid) ?? true {
        let other = follow(item.value, level, request)
        guard other != newest else { continue }
        // The seed decides whether this CPU has the value cached, once for as long as it is stale.
        var choice = SplitMix64(seed: seed ^ item.serial << 8 ^ UInt64(request.cpu))
        let isCached = choice.next() & 1 == 0
        if case .fault(.permission, _) = other, case .address = newest {
          // Permissions were loosened; that needs no invalidation, and allows one spurious fault.
          let bit: UInt64 = 1 << UInt64(request.cpu)
          if isCached, item.spuriousCPUs & bit == 0 {
            stale[key]![position].spuriousCPUs |= bit
            return other
          }
          continue
        }
        if !item.wasReported {
          stale[key]![position].wasReported = true
          find(
            .staleAccess,
            "\(request.access) by the \(request.privilege) went, or could have gone, through a stale "
              + (Self.isTable(item.value, level) ? "table entry" : "translation"),
            address: request.address, oldFrame: other.frame ?? Self.frame(item.value), newFrame: newest.frame)
        }
        if isCached { outcome = other }
      }
    }
    return outcome
  }

  /// The result of a walk from a table on, with the newest value of every entry.
  private func walk(_ request: TranslationRequest, _ table: UInt, _ level: Int) -> TranslationOutcome {
    guard let host = memory.host(table << 12) else { return .fault(.external, level: level) }
    let raw = host.load(
      fromByteOffset: Int(AddressSplit.index(request.address, level) * 8), as: UInt64.self)
    return follow(Self.walked(raw, level), level, request)
  }

  /// The result of a walk that meets a given value of an entry.
  private func follow(_ value: UInt64, _ level: Int, _ request: TranslationRequest) -> TranslationOutcome {
    guard value != 0 else { return .fault(.translation, level: level) }
    if Self.isTable(value, level) { return walk(request, Self.frame(value), level + 1) }
    let entry = PageTableEntry(rawValue: value)
    guard entry.isAccessed || updatesAccessFlags else { return .fault(.accessFlag, level: level) }
    let isAllowed =
      switch (request.privilege, request.access) {
      case (.kernel, .read): true
      case (.kernel, .write): isStoreAllowed(entry)
      // EL1 never executes memory that EL0 can write.
      case (.kernel, .execute): entry.isKernelExecutable && !(entry.isUserAccessible && isStoreAllowed(entry))
      case (.user, .read): entry.isUserAccessible
      case (.user, .write): entry.isUserAccessible && isStoreAllowed(entry)
      case (.user, .execute): entry.isUserAccessible && entry.isUserExecutable
      }
    guard isAllowed else { return .fault(.permission, level: level) }
    let offset = request.address & (AddressSplit.span(level) - 1)
    return .address((Self.frame(value) << 12 & ~(AddressSplit.span(level) - 1)) + offset)
  }

  /// The result of a walk that meets older values of entries whose stores are not published.
  private func walkPublished(
    _ request: TranslationRequest, _ root: UInt, _ newest: TranslationOutcome, _ random: inout SplitMix64
  ) -> TranslationOutcome {
    var table = root
    for level in split.rootLevel...3 {
      let entry = (table << 12) + AddressSplit.index(request.address, level) * 8
      guard memory.host(entry) != nil else { return .fault(.external, level: level) }
      let value = Self.walked(memory[word: entry], level)
      if let older = pending[entry] {
        let outcome = follow(Self.walked(older[0].value, level), level, request)
        if outcome != newest {
          // A value that became invalid is stale, and is handled there. A mapping that some walkers do not see yet costs EL0 a
          // fault that its handler finds resolved; the kernel has no handler.
          if request.privilege == .kernel, case .address = newest {
            find(
              .unpublishedAccess,
              "\(request.access) through a level \(level) entry that CPU \(older[0].cpu) has not published",
              address: request.address, newFrame: newest.frame)
          }
          let choice = random.next(below: older.count + 1)
          if choice < older.count {
            return follow(Self.walked(older[choice].value, level), level, request)
          }
        }
      }
      guard Self.isTable(value, level) else { return follow(value, level, request) }
      table = Self.frame(value)
    }
    return newest
  }
}
