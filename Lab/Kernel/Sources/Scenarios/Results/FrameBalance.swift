// What every scenario says about frames: how many were free before it, and how many after all was given back.

import KernelStacks

extension JSONWriter {
  /// Writes how many frames were free before a run, and how many after it, everything that is only kept for speed having
  /// been given back.
  ///
  /// | key | meaning |
  /// |---|---|
  /// | `freeFramesBefore` | free frames before the first process, thread or area was made |
  /// | `freeFramesAfterReclaim` | free frames after the last was gone and all caches were empty |
  /// | `freeFramesEqual` | whether these are the same |
  /// | `leakedFrames` | how many are missing |
  mutating func frameBalance(before: Int, leaked: Int) {
    field("freeFramesBefore", before)
    field("freeFramesAfterReclaim", before - leaked)
    field("freeFramesEqual", leaked == 0)
    field("leakedFrames", leaked)
  }
}
