// The tables of docs/claims.md, one for each claim or question.

import Figures
import ImageTools
import SimulatedScenarios

extension ClaimResults {
  /// All tables, in the order of the page.
  func tables(addressSpace: StackAddressSpace?) -> [ClaimTable] {
    [
      fragmentation, additionalPage, addressSpaceTable(addressSpace), runTime, linuxRunTime, halfSize,
      linuxDepths, lentPages, metadata, pageTableWork, switches, forksAndExits, movable, accounting, refusals,
    ]
  }

  private static let strategies = ["linear", "vmalloc", "growing"]

  /// A cell for each strategy.
  private func perStrategy(_ cell: (String) -> String?) -> [String?] { Self.strategies.map(cell) }

  private func costs(_ name: String, live: Int? = nil) -> [String?] {
    perStrategy { strategy in
      guard entries[.costs] != nil else { return nil }
      return ClaimFigure.count(cost(name, strategy, live: live)?["instructions"]) ?? "-"
    }
  }

  // MARK: Fork without contiguous memory

  /// The free memory when a fork is refused, or a phrase if it is less than a fork takes.
  private func leftWhenRefused(_ result: JSON) -> String {
    guard let free = result["freeBytesAtFailure"]?.integer, let frames = result["framesPerFork"]?.integer
    else {
      return "?"
    }
    return free < frames * 4096 ? "less than a fork takes" : readable(byteCount: free)
  }

  private var fragmentation: ClaimTable {
    func row(_ label: String, _ source: ClaimSource, _ kind: String) -> ClaimRow {
      let result = self[source, kind]
      let isLinux = source == .linux
      return ClaimRow(
        label, source,
        [
          ClaimFigure.bytes(result?[isLinux ? "freeBytes" : "freeBytesBefore"]),
          ClaimFigure.bytes(result?["largestFreeBlockBytes"]),
          isLinux
            ? ClaimFigure.count(result?["forksSucceeded"], of: result?["forksAttempted"])
            : ClaimFigure.count(result?["forksSucceeded"]),
          isLinux ? result.map { _ in "-" } : result.map(leftWhenRefused),
        ])
    }
    let sources: [(String, ClaimSource)] = [
      ("128 MiB", .forks), ("64 MiB", .forksInLittleMemory), ("128 MiB, single frames", .forksInSingleFrames),
    ]
    var rows: [ClaimRow] = []
    for (memory, source) in sources {
      for strategy in Self.strategies { rows.append(row("\(strategy), \(memory)", source, strategy)) }
    }
    for (label, kernel) in [
      ("Linux 6.1, contiguous", "contiguous"), ("Linux 6.1, its own vmalloc", "vmap"),
      ("Linux 6.1, KernelStacks", "kernelstacks"),
    ] { rows.append(row(label, .linux, kernel)) }
    return ClaimTable(
      "fragmentation", ["stacks", "free before", "largest block", "forks", "free when refused"], rows)
  }

  // MARK: One additional page

  private var additionalPage: ClaimTable {
    ClaimTable(
      "additional-page", ["of a 16 KiB stack, 4,000 live", "linear", "vmalloc", "growing"],
      [
        ClaimRow(
          "bytes of page tables and records", .costs,
          perStrategy {
            ClaimFigure.count(cost("page tables and metadata per stack", $0)?["bytesPerStack"])
          }),
        ClaimRow(
          "stacks for each additional page", .costs,
          perStrategy { strategy in
            cost("page tables and metadata per stack", strategy)?["bytesPerStack"]?.integer.map {
              grouped(4096 / max(1, $0))
            }
          }),
        ClaimRow(
          "frames that a fork takes, stack included, at most", .forks,
          perStrategy { strategy in
            self[.forks, strategy].map {
              $0["forksSucceeded"]?.integer == 0 ? "-" : ClaimFigure.count($0["framesPerFork"]) ?? "?"
            }
          }),
      ])
  }

  // MARK: Address space

  private func addressSpaceTable(_ space: StackAddressSpace?) -> ClaimTable {
    let many = self[.manyThreads, "growing"]
    return ClaimTable(
      "address-space", ["39-bit addresses", ""],
      [
        ClaimRow("vmalloc area", .addressSpace, [space.map { readable(byteCount: $0.areaBytes) }]),
        ClaimRow("slot of a 16 KiB stack", .addressSpace, [space.map { readable(byteCount: $0.slotBytes) }]),
        ClaimRow("stacks that fit", .addressSpace, [space.map { grouped($0.capacity) }]),
        ClaimRow(
          "memory that these would take", .addressSpace,
          [space.map { readable(byteCount: $0.capacity * $0.stackBytes) }]),
        ClaimRow("threads that lived at a time", .manyThreads, [ClaimFigure.count(many?["threads"])]),
        ClaimRow(
          "bytes for each of them, everything included", .manyThreads,
          [ClaimFigure.count(many?["bytesPerThread"])]),
        ClaimRow(
          "instructions to make one, above 1,000 others", .manyThreads,
          [ClaimFigure.count(many?["instructionsPerThreadAtFew"])]),
        ClaimRow(
          "instructions to make one, above all others", .manyThreads,
          [ClaimFigure.count(many?["instructionsPerThreadAtAll"])]),
      ])
  }

  // MARK: Run time

  private var runTime: ClaimTable {
    let rows: [(String, String, Int?)] = [
      ("a new stack, besides clearing it", "allocate new stack", 10),
      ("the same with 4,000 others", "allocate new stack", 4000),
      ("a new stack of frames that are zero", "allocate new stack from zeroed frames", nil),
      ("a cached stack, besides clearing it", "allocate cached stack", nil),
      ("clearing what is mapped of it", "clear stack", nil),
      ("a free into the cache", "free stack into cache", nil),
      ("a free when the cache is full", "free stack, cache full", 4000),
      ("the worst of these", "free stack, cache full, worst", 4000),
      ("growth by a page on a fault, all of it", "growth fault, store included, worst", nil),
      ("check at a switch, reserve full", "switch-in check, reserve full", nil),
    ]
    return ClaimTable(
      "run-time", ["instructions", "linear", "vmalloc", "growing"],
      rows.map { ClaimRow($0.0, .costs, costs($0.1, live: $0.2)) })
  }

  /// The kernels of `make linux` whose stacks are whole: contiguous, Linux's own, ours.
  private static let wholeKernels = ["contiguous", "vmap", "kernelstacks"]

  private func linuxRow(_ label: String, _ key: String, _ kernels: [String] = wholeKernels) -> ClaimRow {
    ClaimRow(label, .linux, kernels.map { ClaimFigure.count(self[.linux, $0]?[key]) })
  }

  private var linuxRunTime: ClaimTable {
    let kernels = Self.wholeKernels + ["growing"]
    return ClaimTable(
      "linux-run-time",
      [
        "instructions in Linux 6.1, 1,000 stacks live", "contiguous", "its own vmalloc", "KernelStacks",
        "growing",
      ],
      [
        linuxRow("a stack, clearing included", "allocInstructions", kernels),
        linuxRow("a free", "freeInstructions", kernels),
        linuxRow("the worst free", "worstFreeInstructions", kernels),
        linuxRow("a fork in a burst of 256", "burstForkInstructions", kernels),
        linuxRow("its exit and wait", "burstExitInstructions", kernels),
        linuxRow("bytes of stack for each of these processes", "kernelStackBytesPerThread", kernels),
      ])
  }

  // MARK: 8 KiB

  private var halfSize: ClaimTable {
    func forks(_ source: ClaimSource, _ strategy: String) -> [String?] {
      let result = self[source, strategy]
      return [
        ClaimFigure.bytes(result?["largestFreeBlockBytes"]), ClaimFigure.count(result?["forksSucceeded"]),
      ]
    }
    return ClaimTable(
      "half-size", ["stacks", "largest free block", "forks"],
      [
        ClaimRow("8 KiB, contiguous, pieces of 8 KiB", .halfSize, forks(.halfSize, "linear")),
        ClaimRow(
          "8 KiB, contiguous, pieces of 4 KiB", .halfSizeInSingleFrames,
          forks(.halfSizeInSingleFrames, "linear")),
        ClaimRow(
          "16 KiB, `vmalloc`, pieces of 4 KiB", .forksInSingleFrames, forks(.forksInSingleFrames, "vmalloc")),
        ClaimRow(
          "16 KiB, `growing`, pieces of 4 KiB", .forksInSingleFrames, forks(.forksInSingleFrames, "growing")),
      ])
  }

  private var linuxDepths: ClaimTable {
    ClaimTable(
      "linux-depths",
      ["threads of Linux 6.1 in 2,000 forks", "contiguous", "its own vmalloc", "KernelStacks"],
      [
        linuxRow("threads looked at", "threadsLookedAt"),
        linuxRow("never deeper than 4 KiB", "threadsWithin4KiB"),
        linuxRow("never deeper than 8 KiB", "threadsWithin8KiB"),
        linuxRow("the deepest, in bytes", "deepestStackBytes"),
      ])
  }

  // MARK: Growth without a fault

  private var lentPages: ClaimTable {
    func cost(_ name: String) -> String? {
      ClaimFigure.count(self.cost(name, "growing", in: .lentCosts)?["instructions"])
    }
    func bytes(_ source: ClaimSource) -> String? {
      ClaimFigure.count(self[source, "growing"]?["stackBytesPerThread"])
    }
    return ClaimTable(
      "lent-pages", ["stacks that grow", "on a fault", "lent"],
      [
        ClaimRow(
          "instructions at a switch, three pages untouched", .lentCosts,
          ["-", cost("lend the other pages, take them back")]),
        ClaimRow(
          "instructions in the thread for a page", .lentCosts,
          [cost("growth fault, store included, worst"), "-"]),
        ClaimRow(
          "bytes of stack for each of a million threads", .manyThreadsLent,
          [bytes(.manyThreads), bytes(.manyThreadsLent)]),
      ])
  }

  // MARK: Metadata

  private var metadata: ClaimTable {
    ClaimTable(
      "metadata", ["with 4,000 stacks of 16 KiB live", "linear", "vmalloc", "growing"],
      [
        ClaimRow(
          "page tables and records, of the memory mapped", .costs,
          perStrategy { strategy in
            guard let bytes = cost("page tables and metadata per stack", strategy)?["bytesPerStack"]?.integer
            else {
              return nil
            }
            return ClaimFigure.percent(bytes, of: strategy == "growing" ? 4096 : 16384)
          }),
        ClaimRow(
          "bytes of a thread's stack, idle", .costs,
          perStrategy { ClaimFigure.count(cost("stack memory of a thread, idle", $0)?["bytesPerThread"]) }),
        ClaimRow(
          "bytes of a thread's stack, after typical depths", .costs,
          perStrategy {
            ClaimFigure.count(cost("stack memory of a thread, after typical depths", $0)?["bytesPerThread"])
          }),
      ])
  }

  // MARK: Page tables and TLB

  private var pageTableWork: ClaimTable {
    func invalidations(_ label: String, _ name: String, live: Int? = nil) -> ClaimRow {
      ClaimRow(
        label, .costs,
        perStrategy { strategy in
          guard entries[.costs] != nil else { return nil }
          return ClaimFigure.count(cost(name, strategy, live: live)?["tlbInvalidations"]) ?? "-"
        })
    }
    return ClaimTable(
      "page-tables", ["TLB invalidations, 16 KiB stacks", "linear", "vmalloc", "growing"],
      [
        invalidations("1,024 new stacks", "allocate new stack", live: 4000),
        invalidations("1,024 cached stacks", "allocate cached stack"),
        invalidations("1,024 frees into the cache", "free stack into cache"),
        invalidations("1,024 frees when the cache is full", "free stack, cache full", live: 4000),
        invalidations("growth by a page on a fault", "growth fault, store included, worst"),
      ])
  }

  // MARK: What translations of 4 KiB cost

  /// A mean of the model, or the sum of several, warm, of the core that the page of costs shows, too.
  private func missed(_ record: JSON, _ kinds: [String]) -> String? {
    let warm = record["memory"]?["cores"]?[MemoryColumn.core]?["warm"]
    let means = kinds.compactMap { warm?[$0]?.number }
    guard means.count == kinds.count else { return nil }
    let hundredths = Int((means.reduce(0, +) * 100).rounded())
    return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
  }

  /// What is counted of an operation: the rows' labels, and the figures of a record.
  private var countedOfOperation: [(label: String, figure: (JSON) -> String?)] {
    [
      ("instructions", { ClaimFigure.count($0["instructions"]) }),
      ("translations missed in the L1 TLBs", { missed($0, ["tlb"]) }),
      ("translations missed in the L2 TLB", { missed($0, ["l2Tlb"]) }),
      ("lines missed in the L1 caches", { missed($0, ["l1Data", "l1Code"]) }),
      ("lines missed in the L2 cache", { missed($0, ["l2"]) }),
    ]
  }

  /// The figures of one switch.
  private var switches: ClaimTable {
    ClaimTable(
      "switches", ["of one switch", "linear", "vmalloc", "growing"],
      [10, 100, 1000, 10_000].flatMap { threads in
        countedOfOperation.map { counted in
          ClaimRow(
            "\(grouped(threads)) threads: \(counted.label)", .switching,
            perStrategy { strategy in
              cost("switch, each thread in turn", strategy, live: threads, in: .switching)
                .flatMap(counted.figure)
            })
        }
      })
  }

  /// The figures of one fork, or of one exit and wait, at random; the program's own instructions are counted, too.
  private var forksAndExits: ClaimTable {
    ClaimTable(
      "forks-and-exits", ["of one fork or exit", "linear", "vmalloc", "growing"],
      countedOfOperation.map { counted in
        ClaimRow(counted.label, .forkChurn, perStrategy { self[.forkChurn, $0].flatMap(counted.figure) })
      })
  }

  // MARK: Movable and unmovable memory

  private var movable: ClaimTable {
    func maps(_ strategy: String) -> ClaimFrameCounts? {
      self[.forks, strategy].flatMap { ClaimFrameCounts($0) }
    }
    func row(_ label: String, _ figure: (ClaimFrameCounts) -> String) -> ClaimRow {
      ClaimRow(label, .forks, perStrategy { maps($0).map(figure) })
    }
    return ClaimTable(
      "movable", ["frames that all forks together took", "linear", "vmalloc", "growing"],
      [
        row("at the failure: movable (user memory)") { grouped($0.movable) },
        row("unmovable: stacks") { grouped($0.stacks) },
        row("unmovable: page tables, task records") { grouped($0.otherUnmovable) },
        row("unmovable for each movable frame") { counts in
          guard counts.movable > 0 else { return "-" }
          let hundredths =
            ((counts.stacks + counts.otherUnmovable) * 100 + counts.movable / 2) / counts.movable
          return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
        },
        row("unmovable frames more than before, after all have ended") { grouped(max(0, $0.unmovableLeft)) },
      ])
  }

  // MARK: Accounting

  private var accounting: ClaimTable {
    ClaimTable(
      "accounting", ["kernel stacks in the accounts", "linear", "vmalloc", "growing"],
      [
        ClaimRow(
          "frames of stacks in the map of memory, at the failure", .forks,
          perStrategy { strategy in
            self[.forks, strategy].flatMap { ClaimFrameCounts($0) }.map { grouped($0.allStacksAtFailure) }
          }),
        ClaimRow(
          "frames of stacks in the allocator's accounts", .forks,
          perStrategy { strategy in
            self[.forks, strategy]?["stackBytes"]?.integer.map { grouped($0 / 4096) }
          }),
      ])
  }

  // MARK: Refused allocations

  private var refusals: ClaimTable {
    let result = self[.exhaustion, "vmalloc"]
    return ClaimTable(
      "refusals", ["each allocation of a fork refused in turn", ""],
      [
        ClaimRow("allocations refused", .exhaustion, [ClaimFigure.count(result?["allocationsRefused"])]),
        ClaimRow(
          "parts of the state that changed", .exhaustion,
          [result.map { $0["changed"]?.string == nil ? "none" : $0["changed"]?.string ?? "?" }]),
        ClaimRow("frames leaked", .exhaustion, [ClaimFigure.count(result?["leakedFrames"])]),
      ])
  }
}

/// The frames that the forks of `fragmented-fork` took, by its maps of memory.
struct ClaimFrameCounts {
  var movable = 0
  var stacks = 0
  var otherUnmovable = 0
  var allStacksAtFailure = 0
  var unmovableLeft = 0

  init?(_ result: JSON) {
    func map(_ name: String) -> FrameMap? { result["frameMaps"]?[name]?.string.flatMap { FrameMap($0) } }
    guard let before = map("before"), let failure = map("atFailure"), let after = map("after") else {
      return nil
    }
    func taken(_ use: FrameUse) -> Int { failure.count(of: use) - before.count(of: use) }
    movable = taken(.userMemory)
    stacks = taken(.stack)
    otherUnmovable = taken(.pageTable) + taken(.taskRecord)
    allStacksAtFailure = failure.count(of: .stack)
    for use in [FrameUse.stack, .pageTable, .taskRecord] {
      unmovableLeft += after.count(of: use) - before.count(of: use)
    }
  }
}
