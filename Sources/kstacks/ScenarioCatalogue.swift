// The scenarios there are.

/// The list of scenarios and strategies.
enum ScenarioCatalogue {
  static let strategies = ["linear", "vmalloc"]
  static let scenarios = [
    (name: "fragmented-fork", summary: "break free memory into pieces, then fork until memory ends"),
    (name: "bench", summary: "count the instructions of each stack operation"),
  ]
}
