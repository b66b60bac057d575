// What must hold of the kernel's command line.

import KernelProcesses
import KernelStacks
import Scenarios

/// Reads options; those that are accepted must be within their limits, and say the same when they are written down again.
func judgeCommandLine(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
  let options: ScenarioOptions
  do {
    options = try ScenarioOptions(parsing: bytes)
  } catch {
    return try judgeRefusal(error)
  }
  try require((1...64).contains(options.cpuCount), "the number of CPUs has limits")
  try require((1 << 20...1 << 40).contains(options.memoryBytes), "the size of memory has limits")
  try require((1...8).contains(options.nodeCount), "the number of nodes has limits")
  try require([39, 48].contains(options.virtualAddressBits), "addresses have 39 or 48 bits")
  try require(
    (8192...24576).contains(options.stackSize) && options.stackSize % 4096 == 0, "stacks are 2 to 6 pages large"
  )
  try require((0...1).contains(options.largestFreeOrder), "the largest free order is 0 or 1")
  try require(
    (1...[50, 75][options.largestFreeOrder]).contains(options.freeSharePercent), "the free share is possible")
  try require((1...Int(Int32.max)).contains(options.operations), "the number of operations has limits")
  try require((0...100_000_000).contains(options.threadCount), "the number of threads has limits")
  try compareNumbers(of: options, with: bytes)
  let text = options.commandLine
  let again: ScenarioOptions
  do {
    again = try Array(text.utf8).withUnsafeBytes { bytes throws(ScenarioOptionError) in
      try ScenarioOptions(parsing: bytes)
    }
  } catch {
    throw Finding(description: "options that are written down are accepted: \(text): \(error)")
  }
  try require(again.commandLine == text, "options that are written down say the same: \(text)")
}

/// Each number is what the last word with its key says.
private func compareNumbers(of options: ScenarioOptions, with bytes: UnsafeRawBufferPointer) throws(Finding) {
  let given: [(String, UInt64?)] = [
    ("seed", options.seed), ("memory", options.givenMemoryBytes.map(UInt64.init)),
    ("cpus", options.givenCPUCount.map(UInt64.init)), ("numa-nodes", UInt64(options.nodeCount)),
    ("va-bits", UInt64(options.virtualAddressBits)), ("stack-size", UInt64(options.stackSize)),
    ("largest-free-order", UInt64(options.largestFreeOrder)), ("free-share", UInt64(options.freeSharePercent)),
    ("operations", UInt64(options.operations)), ("threads", options.givenThreadCount.map(UInt64.init)),
  ]
  let text = bytes.prefix { $0 != 0 }
  let words = text.split { [0x20, 0x09, 0x0a].contains($0) }.map { String(decoding: $0, as: UTF8.self) }
  for (key, value) in given {
    guard let word = words.last(where: { $0.hasPrefix("\(key)=") }) else { continue }
    let expected = number(String(word.dropFirst(key.utf8.count + 1)))
    try require(expected == value, "a number is what was written: \(word) is \(String(describing: value))")
  }
}

private func number(_ text: String) -> UInt64? {
  var digits = text
  var unit: UInt64 = 1
  if let power = ["k": 10, "m": 20, "g": 30][text.suffix(1).lowercased()] as UInt64? {
    digits.removeLast()
    unit = 1 << power
  }
  let value = digits.hasPrefix("0x") ? UInt64(digits.dropFirst(2), radix: 16) : UInt64(digits)
  let (product, isTooLarge) = (value ?? 0).multipliedReportingOverflow(by: unit)
  return value == nil || isTooLarge ? nil : product
}

extension ScenarioOptions {
  /// All options that are set, as a command line.
  var commandLine: String {
    var words = [
      "scenario=\(scenario.name)", "strategy=\(strategy.name)", "seed=\(seed)", "numa-nodes=\(nodeCount)",
      "va-bits=\(virtualAddressBits)", "stack-size=\(stackSize)", "largest-free-order=\(largestFreeOrder)",
      "free-share=\(freeSharePercent)", "depths=\(stackDepths.name)", "operations=\(operations)",
      "break-condition=\(breaksCondition ? "yes" : "no")",
    ]
    if let freeBlocks { words.append("free-blocks=\(freeBlocks.numbers)") }
    if let usableBlocks { words.append("usable-blocks=\(usableBlocks.numbers)") }
    if let givenMemoryBytes { words.append("memory=\(givenMemoryBytes)") }
    if let givenCPUCount { words.append("cpus=\(givenCPUCount)") }
    if let givenThreadCount { words.append("threads=\(givenThreadCount)") }
    return words.joined(separator: " ")
  }
}

extension BlockCounts {
  /// The numbers of all orders, with commas.
  fileprivate var numbers: String {
    (0..<Self.orderCount).map { "\(self[$0])" }.joined(separator: ",")
  }
}

/// The line that the kernel ends with is one of text: JSON, with no byte that steers a terminal.
private func judgeRefusal(_ error: ScenarioOptionError) throws(Finding) {
  let line = CollectedText()
  writeError(error, to: line)
  let bytes = line.bytes
  try require(bytes.last == 10 && bytes.count < 512, "a refusal is one line, and not a long one")
  try require(!bytes.dropLast().contains { $0 < 0x20 || $0 == 0x7f }, "no byte of a refusal steers a terminal")
  let text = String(decoding: bytes, as: UTF8.self)
  try require(Array(text.utf8) == bytes, "a refusal is UTF-8")
  let escaped = text.replacing("\\\\", with: "").replacing("\\\"", with: "")
  try require(escaped.filter { $0 == "\"" }.count == 8, "a refusal is JSON: \(text)")
}

/// Text that is kept.
final class CollectedText: TextSink {
  private(set) var bytes: [UInt8] = []

  func write(byte: UInt8) { bytes.append(byte) }
}
