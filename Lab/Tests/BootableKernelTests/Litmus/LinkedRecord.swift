// The record of the proved code: verify/litmus/linked, the ordering instructions of each function that a litmus test is
// taken from, as the linked kernels have them.

import ImageTools

/// The contents of verify/litmus/linked.
///
///     function
///       plain: ldaxr x; stxr x      without FEAT_LSE
///       lse: casa x                 with it; `both:` where they are the same
struct LinkedRecord: Equatable {
  /// The sequences of a function's specialisations, sorted, by function and kind of CPU.
  var sequences: [String: [Guest.CPU: [String]]] = [:]

  init() {}

  init(_ text: String) {
    var function = ""
    // A line that is indented further continues the one before.
    for line in text.replacing("\n    ", with: " ").split(separator: "\n") where !line.hasPrefix("#") {
      guard line.hasPrefix("  "), let colon = line.firstIndex(of: ":") else {
        function = String(line)
        sequences[function] = [:]
        continue
      }
      let kind = line[..<colon].dropFirst(2)
      for (cpu, name) in Self.kinds where kind == name || kind == "both" {
        sequences[function]?[cpu, default: []].append(String(line[colon...].dropFirst(2)))
      }
    }
  }

  static let kinds: [(Guest.CPU, String)] = [(.cortexA72, "plain"), (.max, "lse")]

  /// The record as the file has it, without the comment at its head.
  var text: String {
    sequences.keys.sorted().map { function in
      let all = sequences[function] ?? [:]
      let isSame = all[.cortexA72] == all[.max]
      let lines = Self.kinds.flatMap { cpu, name -> [String] in
        if isSame && cpu == .max { return [] }
        return (all[cpu] ?? []).map { Self.wrapped("  \(isSame ? "both" : name): \($0)") }
      }
      return ([function] + lines).joined(separator: "\n") + "\n"
    }.joined()
  }

  private static func wrapped(_ line: String) -> String {
    var (lines, current) = ([String](), "")
    for part in line.split(separator: "; ") {
      if current.isEmpty {
        current = String(part)
      } else if current.count + part.count > 110 {
        lines.append(current + ";")
        current = "    \(part)"
      } else {
        current += "; \(part)"
      }
    }
    return (lines + [current]).joined(separator: "\n")
  }

  /// The functions whose instructions differ from this record.
  func differences(from linked: LinkedFunctions, for cpu: Guest.CPU) -> [String] {
    sequences.keys.filter { (sequences[$0]?[cpu] ?? []) != linked.sequences(of: $0) }.sorted()
  }
}
