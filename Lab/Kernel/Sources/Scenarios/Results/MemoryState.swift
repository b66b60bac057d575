// What memory and the caches of each CPU hold at a moment, for who watches a run.

import KernelProcesses
import KernelStacks

extension Processes where Parts: ScenarioParts {
  /// Adds what memory is like to a line of progress.
  ///
  /// | key | meaning |
  /// |---|---|
  /// | `freeBytes` | free memory |
  /// | `picture` | one letter for each of 256 equal stretches of memory: what one of its frames is |
  /// | `cpus` | for each CPU the stacks in its magazine and the frames in its reserve: `12/3 0/3` |
  borrowing func writeMemoryState<Console: TextSink>(to json: inout JSONWriter<Console>) {
    json.field("freeBytes", frames.freeFrames * pageSize)

    json.beginText("picture")
    let letters = min(256, frameSpan)
    let length = frameSpan / max(1, letters)
    for index in 0..<letters {
      // At another place in each stretch: at the same place the picture would keep step with a pattern.
      let place = Int((UInt32(truncatingIfNeeded: index) &* 2_654_435_761) >> 8) % length
      json.append(byte: frameLetter(frameAllocator.owner(of: lowestFrame + (index * length + place))))
    }
    json.endText()

    json.beginText("cpus")
    for cpu in 0..<machine.cpuCount {
      if cpu > 0 { json.append(byte: UInt8(ascii: " ")) }
      json.append(stacks.cachedStackCount(ofCPU: cpu))
      json.append(byte: UInt8(ascii: "/"))
      json.append(stacks.configuration.strategy == .growing ? stacks.reservedFrameCount(ofCPU: cpu) : 0)
    }
    json.endText()
  }
}
