// The runs behind the figures of docs/claims.md: the command that a reader types, and the run that it makes.

import ImageTools

/// A command whose results have figures for the page.
enum ClaimSource: String, CaseIterable, Sendable {
  case forks
  case forksInLittleMemory = "forks-64M"
  case forksInSingleFrames = "forks-order-0"
  case halfSize = "forks-8K"
  case halfSizeInSingleFrames = "forks-8K-order-0"
  case costs = "bench"
  case exhaustion
  case manyThreads = "million-threads"
  case lentCosts = "bench-lent"
  case manyThreadsLent = "million-threads-lent"
  case switching
  case forkChurn = "fork-churn"
  case linux
  case addressSpace = "address-space"

  /// The command as a reader types it.
  var command: String {
    switch self {
    case .linux: "make linux"
    case .addressSpace: "./kstacks claims"
    case .costs, .lentCosts: (["./kstacks bench"] + options).joined(separator: " ")
    default: (["./kstacks run", scenario] + options).joined(separator: " ")
    }
  }

  /// The scenario behind it; for other sources, the name of the file.
  var scenario: String {
    switch self {
    case .forks, .forksInLittleMemory, .forksInSingleFrames, .halfSize, .halfSizeInSingleFrames:
      "fragmented-fork"
    case .lentCosts: Self.costs.rawValue
    case .manyThreadsLent: Self.manyThreads.rawValue
    default: rawValue
    }
  }

  /// The options of its run.
  var options: [String] {
    switch self {
    case .forks, .costs, .switching, .forkChurn, .linux, .addressSpace: []
    case .forksInLittleMemory: ["--memory", "64M"]
    case .forksInSingleFrames: ["--largest-free-order", "0"]
    case .halfSize: ["--strategy", "linear", "--stack-size", "8K"]
    case .halfSizeInSingleFrames: ["--strategy", "linear", "--stack-size", "8K", "--largest-free-order", "0"]
    case .exhaustion: ["--strategy", "vmalloc"]
    case .manyThreads: ["--strategy", "growing"]
    case .lentCosts: ["--strategy", "growing", "--cpu", "max"]
    case .manyThreadsLent: ["--strategy", "growing", "--growth", "lent", "--cpu", "max"]
    }
  }

  /// Whether `kstacks claims` makes the run itself, in the bootable kernel.
  var isRun: Bool { self != .linux && self != .addressSpace }

  /// The percentage by which the page and a fresh run may differ.
  ///
  /// The number of forks depends on the frames that the kernel's image leaves and, with growing stacks, on which children go
  /// deep before memory runs out.
  var percentOfTolerance: Double { scenario == "fragmented-fork" ? 5 : 2 }

  /// The path of its results, in the folder of results.
  var file: String { self == .linux ? "linux.json" : "claims/\(rawValue).json" }

  /// The plans of its run, one for each strategy.
  func plans() throws -> [RunPlan] { try ScenarioArguments.parse(options).plans(scenario: scenario) }
}

/// The results of these commands that exist.
struct ClaimResults {
  var entries: [ClaimSource: [JSON]] = [:]

  /// Makes an empty set of results.
  init() {}

  /// Reads a folder of results; adds a line for each file that cannot be used.
  init(folder: String, problems: inout [String]) {
    for source in ClaimSource.allCases where source != .addressSpace {
      let path = "\(folder)/\(source.file)"
      guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
        problems.append(
          "\(source.file) is missing; `\(source.isRun ? "./kstacks claims" : source.command)` writes it"
        )
        continue
      }
      guard let found = (try? JSON(parsing: text))?.array, !found.isEmpty else {
        problems.append("\(source.file) is truncated or no result of KernelStacks")
        continue
      }
      entries[source] = found
    }
  }

  /// A result by its strategy, or the name of its Linux kernel.
  subscript(source: ClaimSource, kind: String) -> JSON? {
    entries[source]?.first { $0["strategy"]?.string == kind || $0["kernel"]?.string == kind }
  }

  /// A row of `bench`.
  func cost(_ name: String, _ strategy: String, live: Int? = nil, in source: ClaimSource = .costs) -> JSON? {
    entries[source]?.first {
      $0["name"]?.string == name && $0["strategy"]?.string == strategy
        && (live == nil || $0["live"]?.integer == live)
    }
  }
}
