// The pictures of physical memory that belong to results: before the first fork, and when the first fork failed.

import Figures
import ImageTools

/// The pictures, with one legend for all; the picture before the first fork only once if all runs began alike.
func pictureLines(_ results: [JSON], inColour: Bool) -> [String] {
  func map(_ result: JSON, _ key: String) -> FrameMap? {
    result["frameMaps"]?[key]?.string.flatMap { FrameMap($0) }
  }
  var pictures: [(title: String, picture: MemoryPicture)] = []
  func add(_ title: String, _ map: FrameMap?) {
    guard let map else { return }
    // Piped into a log a run should fit one screen; a terminal shows more.
    pictures.append((title, MemoryPicture(map: map, height: inColour ? 4 : 2, inColour: inColour)))
  }

  let starts = results.map { map($0, "before") }
  let alike = starts.dropFirst().allSatisfy { start in
    guard let start, let first = starts[0] else { return false }
    return start.isMuchLike(first)
  }
  for (index, result) in results.enumerated() {
    let name = results.count == 1 || alike ? "" : strategyName(result) + ", "
    if index > 0 && alike { break }
    add("\(name)before the first fork\(beginning(result)):", starts[index])
  }
  for result in results {
    let forks = counted(result["forksSucceeded"]?.integer ?? 0, "fork")
    let refusal = result["firstFailure"]?.string.map { " (\($0))" } ?? ""
    add("\(strategyName(result)), first failure after \(forks)\(refusal):", map(result, "atFailure"))
  }
  guard let first = pictures.first?.picture else { return [] }

  let cell = "\(readable(byteCount: first.bytesPerCell)) a \(inColour ? "half-block" : "character")"
  var lines = ["Physical memory, \(cell): \(MemoryPicture.legend(pictures.map(\.picture)))"]
  for (title, picture) in pictures { lines += [title] + picture.lines }
  if let ending = ending(results) { lines.append(ending) }
  return lines
}

private func strategyName(_ result: JSON) -> String { result["strategy"]?.string ?? "?" }

private func beginning(_ result: JSON) -> String {
  guard let free = result["freeBytesBefore"]?.integer, let largest = result["largestFreeBlockBytes"]?.integer
  else { return "" }
  return " (\(readable(byteCount: free)) free, largest block \(readable(byteCount: largest)))"
}

/// The state of memory after all children had ended.
private func ending(_ results: [JSON]) -> String? {
  let leaks = results.compactMap { $0["leakedFrames"]?.integer }
  guard leaks.count == results.count else { return nil }
  if leaks.allSatisfy({ $0 == 0 }) {
    return "After every child had ended, all memory was free again (0 frames leaked)."
  }
  let named = zip(results, leaks).map { "\(strategyName($0)) \(grouped($1))" }
  return "After every child had ended, frames were missing: \(named.joined(separator: ", "))."
}
