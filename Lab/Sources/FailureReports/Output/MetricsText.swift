// Gauges for a fleet's monitoring, in the OpenMetrics text format that node_exporter's textfile collector reads.

/// Writes the state of memory as metrics.
package enum MetricsText {
  /// A gauge with its help text.
  private struct Gauge {
    var name: String
    var unit: String?
    var help: String
    var samples: [(labels: String, value: String)] = []
  }

  /// The metrics of several machines or files; a label names each where there is more than one.
  ///
  /// - Parameter stackBytes: the size of a stack, for the count of those that could still be made.
  package static func text(_ states: [(name: String, state: MemoryState)], stackBytes: UInt64 = 16384) -> String
  {
    var free = Gauge(name: "kstacks_free_bytes", unit: "bytes", help: "Free memory of a zone.")
    var usable = Gauge(
      name: "kstacks_usable_free_bytes", unit: "bytes",
      help: "Free memory that requests of the kernel may take, at most.")
    var largest = Gauge(
      name: "kstacks_largest_usable_block_bytes", unit: "bytes",
      help: "The largest free block that requests of the kernel may take.")
    var index = Gauge(
      name: "kstacks_unusable_free_index", unit: nil,
      help: "The share of free memory that is of no use for a request of an order.")
    var possible = Gauge(
      name: "kstacks_contiguous_stacks", unit: nil,
      help: "Contiguous kernel stacks that could still be made, at most.")
    var stacks = Gauge(name: "kstacks_kernel_stack_bytes", unit: "bytes", help: "Memory of kernel stacks.")
    var threads = Gauge(name: "kstacks_threads", unit: nil, help: "Threads that have a kernel stack.")
    for (name, state) in states {
      let file = states.count > 1 ? "file=\"\(escaped(name))\"" : ""
      func labels(_ zone: ZoneState, _ more: String = "") -> String {
        let own = "node=\"\(zone.node)\",zone=\"\(escaped(zone.zone))\""
        return "{" + [file, own, more].filter { !$0.isEmpty }.joined(separator: ",") + "}"
      }
      for zone in state.zones {
        free.samples.append((labels(zone), "\(zone.free)"))
        usable.samples.append((labels(zone), "\(zone.usableFree)"))
        largest.samples.append((labels(zone), "\(zone.largestUsableBlock)"))
        for order in zone.counts.indices {
          index.samples.append(
            (labels(zone, "order=\"\(order)\""), decimal(zone.unusableFreeIndex(order: order))))
        }
        possible.samples.append((labels(zone), "\(zone.contiguousStacks(of: stackBytes))"))
      }
      let own = file.isEmpty ? "" : "{\(file)}"
      if let bytes = state.kernelStackBytes { stacks.samples.append((own, "\(bytes)")) }
      if let count = state.threadCount { threads.samples.append((own, "\(count)")) }
    }
    var text = ""
    for gauge in [free, usable, largest, index, possible, stacks, threads] where !gauge.samples.isEmpty {
      text += "# TYPE \(gauge.name) gauge\n"
      if let unit = gauge.unit { text += "# UNIT \(gauge.name) \(unit)\n" }
      text += "# HELP \(gauge.name) \(gauge.help)\n"
      for sample in gauge.samples { text += "\(gauge.name)\(sample.labels) \(sample.value)\n" }
    }
    return text + "# EOF\n"
  }

  /// A share with four decimals.
  private static func decimal(_ value: Double) -> String {
    let scaled = UInt64((value * 10_000).rounded())
    let digits = String(scaled % 10_000)
    return "\(scaled / 10_000)." + String(repeating: "0", count: 4 - digits.count) + digits
  }

  private static func escaped(_ label: String) -> String {
    label.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
  }
}
