// The report page: memory maps, the forks of each strategy, and costs.

import Foundation
import ImageTools

/// The pictures of some results, and the page around them.
public struct ReportPage: Sendable {
  /// A picture with its caption.
  public struct Figure: Sendable {
    /// The name of its file.
    public let name: String
    /// The picture itself.
    public let drawing: Drawing
    let heading: String
    let caption: String
  }

  /// The pictures, in the order of the page.
  public let figures: [Figure]
  let results: ResultSet
  private let maps: [Drawing]
  private let mapLegend: [(role: Role, name: String)]

  /// Draws the pictures, leaving out those without results.
  public init(_ results: ResultSet) {
    self.results = results
    var figures: [Figure] = []
    func add(_ name: String, _ drawing: Drawing?, _ heading: String, _ caption: String) {
      if let drawing {
        figures.append(Figure(name: name, drawing: drawing, heading: heading, caption: caption))
      }
    }
    let memory = MemoryMaps(results.forks)
    maps = memory.map { [$0.before, $0.needs] + $0.failures + [$0.after].compactMap { $0 } } ?? []
    mapLegend = memory?.legend.map { (role: $0.0, name: $0.1) } ?? []
    add("memory-pair", memory?.pair, "", "")
    add(
      "forks", forksFigure(results.forks), "How far each got",
      "Each line begins with the same broken memory and falls as forks use it up. It ends where a fork was refused."
    )
    add(
      "memory-per-thread", threadMemoryFigure(results), "What one thread takes",
      "A stack from the vmalloc area costs no more memory than a contiguous one, but for a trace of page tables and "
        + "records. A growing stack is a quarter of it for most threads.")
    add(
      "cost-live", liveCostFigure(results), "What a new stack costs",
      "With thousands of stacks in use a new one costs what it costs with ten. "
        + "Clearing, which all kinds need, is not included.")
    add(
      "cost-free", freeCostFigure(results), "What giving one back costs",
      "Unmapped memory may be used again only after every CPU has forgotten it. "
        + (results.linux.isEmpty
          ? "That is done in small batches, so that no single free is expensive."
          : "Linux's own vmalloc now and then pays for thousands of frees at once; here no single free is expensive.")
    )
    add(
      "growth-fault", growthFaultFigure(results), "How a stack grows",
      "A thread stores below its stack's last page. The page comes from a reserve that was filled before the thread ran, "
        + "so there is no waiting and no failing.")
    self.figures = figures
  }

  /// The pictures as files, each with a name and contents.
  public var files: [(name: String, text: String)] {
    let mapNames =
      ["before", "needs"] + results.forks.compactMap { $0["strategy"]?.string }.map { "failure-\($0)" } + [
        "after"
      ]
    return figures.map { ("\($0.name).svg", $0.drawing.file) }
      + zip(mapNames, maps).map { ("memory-\(Self.fileName($0)).svg", $1.file) }
  }

  /// The name with all characters replaced that could form a path.
  private static func fileName(_ text: String) -> String {
    String(text.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") ? $0 : "_" }.prefix(40))
  }

  // MARK: Values for the template

  /// The page's values, by their names in the template.
  var values: [String: Any] {
    var values: [String: Any] = [
      "style": Self.style + Role.styleSheet,
      "headline": headline,
      "problems": results.problems.map { ["line": $0] },
      "files": results.files.joined(separator: ", "),
      "hasFiles": !results.files.isEmpty,
      "outcomes": outcomes,
      "maps": maps.map { ["picture": $0.inline] },
      "figures": figures.filter { !$0.heading.isEmpty }.map {
        [
          "heading": $0.heading, "caption": $0.caption, "picture": $0.drawing.inline,
          "width": $0.drawing.width > 800 ? "wide" : "narrow",
        ]
      },
      "machine": machine,
    ]
    if !mapLegend.isEmpty {
      values["legend"] = ["entries": mapLegend.map { ["role": "\($0.role)", "name": $0.name] }]
    }
    if !linuxRows.isEmpty { values["linux"] = ["rows": linuxRows] }
    return values
  }

  private var headline: String {
    guard let first = results.forks.first, let free = first["freeBytesBefore"]?.integer,
      let largest = first["largestFreeBlockBytes"]?.integer
    else { return "What the last runs measured." }
    return
      "\(readable(byteCount: free)) are free, but no piece is larger than \(readable(byteCount: largest)). "
      + "A new thread wants \(readable(byteCount: first["stackSizeBytes"]?.integer ?? 16384)) of kernel stack. "
      + "How many can be made?"
  }

  private var outcomes: [[String: Any]] {
    let most = results.forks.compactMap { $0["forksSucceeded"]?.integer }.max() ?? 1
    let what = [
      "linear": "one block of contiguous memory, as kernels have always done it",
      "vmalloc": "single pages from anywhere, mapped side by side, with a guard below",
      "growing": "the same, but one page at first and more only when the thread needs it",
    ]
    return results.forks.map { result in
      let strategy = result["strategy"]?.string ?? "?"
      let forks = result["forksSucceeded"]?.integer ?? 0
      return [
        "strategy": result.strategyName.asSentence, "role": "\(strategyRole(strategy))",
        "count": grouped(forks),
        "noun": forks == 1 ? "fork" : "forks", "what": what[strategy] ?? "",
        "share": (100 * Double(max(0, forks)) / Double(max(1, most))).svgText,
      ]
    }
  }

  private var machine: String {
    guard let first = results.forks.first, let bytes = first["memoryBytes"]?.integer else { return "" }
    let board = first["machine"]?.string == "qemu" ? "an arm64 kernel booted in QEMU" : "the simulated machine"
    return "\(board), \(readable(byteCount: bytes)) of memory, seed \(first["seed"]?.integer ?? 0)"
  }

  private var linuxRows: [[String: Any]] {
    let names = [
      "contiguous": "contiguous (VMAP_STACK=n)", "vmap": "Linux's own vmalloc (VMAP_STACK=y)",
      "kernelstacks": "KernelStacks in Linux", "growing": "KernelStacks in Linux, growing",
    ]
    func number(_ value: JSON?) -> String { value?.integer.map(grouped) ?? "?" }
    return results.linux.map { kernel in
      let key = kernel["kernel"]?.string ?? "?"
      return [
        "kernel": names[key] ?? key,
        "forks": "\(number(kernel["forksSucceeded"])) of \(number(kernel["forksAttempted"]))",
        "allocate": number(kernel["allocInstructions"]), "free": number(kernel["freeInstructions"]),
        "worst": number(kernel["worstFreeInstructions"]),
      ]
    }
  }
}
