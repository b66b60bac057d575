// The pictures of physical memory that belong to results, and the refusals that ended them.

import ImageTools

/// The pictures: memory before the first fork, once where all runs look alike then, and each run's at failure and after.
func pictureLines(_ results: [JSON], inColour: Bool) -> [String] {
  func map(_ result: JSON, _ key: String) -> FrameMap? {
    result["frameMaps"]?[key]?.string.flatMap { FrameMap($0) }
  }
  func picture(_ title: String, _ map: FrameMap) -> [String] {
    let picture = MemoryPicture(map: map, inColour: inColour)
    return ["", "\(title): \(picture.legend)"] + picture.lines
  }
  let starts = results.compactMap { map($0, "before") }
  guard let first = starts.first else { return [] }
  let firstLines = MemoryPicture(map: first, inColour: inColour).lines
  let alike =
    starts.count == results.count
    && starts.allSatisfy { MemoryPicture(map: $0, inColour: inColour).lines == firstLines }
  let cell = readable(byteCount: MemoryPicture(map: first, inColour: inColour).bytesPerCell)
  var lines = [
    "", "Physical memory, lowest address first; each \(inColour ? "half-block" : "character") is \(cell):",
  ]
  if alike { lines += picture("before the first fork", first) }
  for result in results {
    let strategy = result["strategy"]?.string ?? "?"
    if !alike, let before = map(result, "before") {
      lines += picture("\(strategy), before the first fork", before)
    }
    if let failure = map(result, "atFailure") { lines += picture("\(strategy), when fork failed", failure) }
    if let after = map(result, "after") { lines += picture("\(strategy), after every child has ended", after) }
  }
  return lines
}

/// What was refused first, for each strategy that met a refusal.
func refusalLines(_ results: [JSON]) -> [String] {
  let lines = results.compactMap { result -> String? in
    guard let strategy = result["strategy"]?.string, let failure = result["firstFailure"]?.string else {
      return nil
    }
    return "\(strategy): \(failure)"
  }
  return lines.isEmpty ? [] : [""] + lines
}
