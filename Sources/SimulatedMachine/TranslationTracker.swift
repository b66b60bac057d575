// The values of translation-table entries that CPUs may have cached: the worst case that the architecture allows.
//
// The protocol. Each table frame that a walker can reach has a *placement*: the address space, the level and the first
// address that it translates. A valid entry of a placed table may be cached by every CPU at any time, so as soon as such
// an entry changes, its old value is *stale*: possibly cached until an invalidation that covers it has completed. Invalid
// entries are never cached, since only valid values become stale.
//
//   memory      what loads of entries return: always the newest value
//   pending     older values that walkers may still see, because the store was not published
//   stale       older values that CPUs may still have cached; a table taken out of its tree makes all its entries stale
//
// The tracker needs no cache per CPU: whether a given CPU holds a given stale value is decided by the seed when it
// matters, and stays decided until the value is dropped. A kernel entry that points to a table bears an ASID: it is stale under
// each ASID that was current on some CPU while it was valid (TranslationTracker+ASIDs.swift).

final class TranslationTracker {
  struct Finding {
    var rule: Violation.Rule
    var detail: String
    var address: UInt?
    var oldFrame: UInt?
    var newFrame: UInt?
  }

  /// The place of a table frame in the tables.
  struct Placement {
    var space: UInt16
    var level: Int
    /// The first address that its entry 0 translates.
    var base: UInt
    /// Whether the tree's newest state contains it; otherwise it is reached only by a stale table entry.
    var isLinked: Bool
    var isRoot: Bool
  }

  /// An address space that was walked at least once since its identifier was last dropped as a whole.
  struct Space {
    var root: UInt
    /// The number of CPUs that have it in TTBR0_EL1; the kernel's counts as always active.
    var activeCPUs: Int
    /// Entries that became valid while no CPU could walk the tables, and are therefore not cached.
    var unwalked: Set<UInt> = []
  }

  /// An old value of an entry that a CPU may have cached.
  struct Stale {
    var entry: UInt
    var value: UInt64
    /// Its number, in the order of creation; the seed's decision about it depends on this.
    var serial: UInt64
    /// The ASIDs under which it may be cached; `nil` if it bears none, or that of the space that it is filed under.
    var asids: Set<UInt16>?
    var wasReported = false
    /// The CPUs that took the one spurious fault that is allowed.
    var spuriousCPUs: UInt64 = 0
  }

  /// An older value of an entry, which walkers may see until `cpu` publishes.
  struct Pending {
    var cpu: Int
    var value: UInt64
  }

  let memory: PhysicalMemory
  let split: AddressSplit
  let kernelRoot: UInt
  var findings: [Finding] = []

  var placements: [UInt: Placement] = [:]
  var spaces: [UInt16: Space] = [:]

  /// By ``staleKey(_:_:_:)``.
  var stale: [UInt64: [Stale]] = [:]
  /// The keys of stale pages and tables by the frame that they name.
  var staleKeysOfFrame: [UInt: Set<UInt64>] = [:]
  /// The keys of stale blocks.
  var staleBlockKeys: Set<UInt64> = []
  var nextSerial: UInt64 = 0
  /// Invalidations that each CPU has issued and not waited for.
  var issued: [[IssuedInvalidation]]

  /// The number of ASID changes of all CPUs, and that number when each ASID was last left.
  var changes = 0
  var lastUse: [UInt16: Int] = [:]
  /// The number of CPUs that have each ASID; 0 is that of CPUs without a user space.
  var asidUsers: [UInt16: Int]
  /// Entries that bear ASIDs, with the time since which they are valid, and the ASIDs of an equal value before.
  var taggedEntries: [UInt: TaggedEntry] = [:]
  /// The keys of stale values that bear ASIDs.
  var taggedKeys: Set<UInt64> = []

  var pending: [UInt: [Pending]] = [:]
  var unpublishedEntries: [[UInt]]
  var unpublishedClears: [Set<UInt>]

  /// Whether CPUs keep dirty state (see TranslationTracker+DirtyState.swift).
  let tracksDirtyPages: Bool
  /// Whether CPUs set access flags (see TranslationTracker+AccessFlag.swift).
  let updatesAccessFlags: Bool
  /// Entries that CPUs have updated, which not every load has to see.
  var unorderedUpdates: [UInt: UnorderedUpdate] = [:]
  /// Entries whose access flags were set by speculation, and through which no access has gone since.
  var speculated: Set<UInt> = []

  init(
    memory: PhysicalMemory, split: AddressSplit, kernelRoot: UInt, cpuCount: Int, tracksDirtyPages: Bool,
    updatesAccessFlags: Bool
  ) {
    self.memory = memory
    self.tracksDirtyPages = tracksDirtyPages
    self.updatesAccessFlags = updatesAccessFlags
    self.split = split
    self.kernelRoot = kernelRoot
    issued = Array(repeating: [], count: cpuCount)
    asidUsers = [0: cpuCount]
    unpublishedEntries = Array(repeating: [], count: cpuCount)
    unpublishedClears = Array(repeating: [], count: cpuCount)
    spaces[0] = Space(root: kernelRoot, activeCPUs: 1)
    placements[kernelRoot] = Placement(
      space: 0, level: split.rootLevel, base: split.kernelBase, isLinked: true, isRoot: true)
  }

  func find(
    _ rule: Violation.Rule, _ detail: String, address: UInt? = nil, oldFrame: UInt? = nil, newFrame: UInt? = nil
  ) {
    findings.append(
      Finding(rule: rule, detail: detail, address: address, oldFrame: oldFrame, newFrame: newFrame))
  }
}

// MARK: - Entries

extension TranslationTracker {
  static let addressMask: UInt64 = 0x0000_ffff_ffff_f000

  /// The value that a walker reads from an entry at a level: 0 if invalid, otherwise without the bits that it ignores.
  ///
  /// Ignored are 58:55 and 63:59 of a leaf (software, PBHA), 11:2 and 63:51 of a table: the hierarchical attributes
  /// are not modelled.
  static func walked(_ value: UInt64, _ level: Int) -> UInt64 {
    guard value & 1 != 0 else { return 0 }
    if level == 3 { return value & 2 == 0 ? 0 : value & 0x007f_ffff_ffff_ffff }
    if value & 2 != 0 { return value & (addressMask | 3) }
    return level == 0 ? 0 : value & 0x007f_ffff_ffff_ffff
  }

  static func isTable(_ value: UInt64, _ level: Int) -> Bool { level < 3 && value & 3 == 3 }

  static func frame(_ value: UInt64) -> UInt { UInt((value & addressMask) >> 12) }

  /// Whether two valid values differ at most in permissions and the access flag (AP, PXN, UXN, AF, DBM).
  static func haveSameOutput(_ a: UInt64, _ b: UInt64) -> Bool {
    (a ^ b) & ~(3 << 6 | 1 << 10 | 1 << 51 | 3 << 53) == 0
  }

  /// Whether two values name the same frame, by the same kind of entry; memory attributes are ignored.
  static func namesSame(_ a: UInt64, _ b: UInt64) -> Bool { (a ^ b) & (addressMask | 3) == 0 }

  /// The key of a stale translation.
  ///
  ///   63            56 55           40 39  38 37 36 35                    0
  ///  +----------------+---------------+------+-----+----------------------+
  ///  |       0        |     space     | level|  0  |  address bits 47:12  |
  ///  +----------------+---------------+------+-----+----------------------+
  static func staleKey(_ space: UInt16, _ level: Int, _ address: UInt) -> UInt64 {
    let base = UInt64(AddressSplit.base(address, level))
    return UInt64(space) << 40 | UInt64(level) << 38 | (base >> 12 & 0xf_ffff_ffff)
  }

  static func level(ofKey key: UInt64) -> Int { Int(key >> 38 & 3) }
  static func space(ofKey key: UInt64) -> UInt16 { UInt16(truncatingIfNeeded: key >> 40) }

  func address(ofKey key: UInt64) -> UInt {
    let low = UInt(key & 0xf_ffff_ffff) << 12
    return Self.space(ofKey: key) == 0 ? low | split.kernelBase : low
  }

  /// Whether the newest state of the tables still has this translation, permissions aside.
  func isCurrent(_ item: Stale) -> Bool {
    guard let table = placements[item.entry >> 12], table.isLinked else { return false }
    let value = Self.walked(memory[word: item.entry], table.level)
    return value != 0 && Self.namesSame(value, item.value)
  }

  // MARK: Stale values

  func addStale(_ value: UInt64, at entry: UInt, _ space: UInt16, _ level: Int, _ address: UInt) {
    let value = cachedValue(value, level)
    let key = Self.staleKey(space, level, address)
    if let known = stale[key], known.contains(where: { $0.entry == entry && $0.value == value }) { return }
    let asids = asids(of: value, at: entry, space, level)
    if asids != nil { taggedKeys.insert(key) }
    stale[key, default: []].append(Stale(entry: entry, value: value, serial: nextSerial, asids: asids))
    nextSerial += 1
    if level == 3 || Self.isTable(value, level) {
      staleKeysOfFrame[Self.frame(value), default: []].insert(key)
    } else {
      staleBlockKeys.insert(key)
    }
  }

  /// Keeps the stale values of a key for which `isKept` holds.
  func filterStale(_ key: UInt64, _ isKept: (Stale) -> Bool) {
    guard let items = stale[key] else { return }
    let kept = items.filter(isKept)
    guard kept.count != items.count else { return }
    stale[key] = kept.isEmpty ? nil : kept
    if kept.isEmpty { taggedKeys.remove(key) }
    let level = Self.level(ofKey: key)
    for item in items {
      let isBlock = level < 3 && !Self.isTable(item.value, level)
      if isBlock {
        if !kept.contains(where: { !Self.isTable($0.value, level) }) { staleBlockKeys.remove(key) }
      } else if !kept.contains(where: { Self.frame($0.value) == Self.frame(item.value) }) {
        let frame = Self.frame(item.value)
        staleKeysOfFrame[frame]?.remove(key)
        if staleKeysOfFrame[frame]?.isEmpty == true { staleKeysOfFrame[frame] = nil }
      }
    }
  }

  func hasStale(space: UInt16) -> Bool { stale.keys.contains { Self.space(ofKey: $0) == space } }
}
