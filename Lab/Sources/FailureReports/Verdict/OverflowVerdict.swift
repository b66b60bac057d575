// Verdicts on stacks that were too small.

/// The verdict on an overflow of a kernel stack.
enum OverflowVerdict {
  static func failure(_ overflow: StackOverflow, _ report: AllocationReport) -> Failure {
    var failure = Failure(line: overflow.line)
    failure.cause = .overflow
    failure.threadStack = .yes
    failure.process = overflow.process
    failure.stackBytes = overflow.stack.map { $0.upperBound - $0.lowerBound }
    failure.helps = [.fixOverflow]
    failure.helpsNot = [.moreMemory, .reclaim, .raiseLimit]
    failure.actor = "the developers of the kernel or the driver: its code needs more stack than there is"
    let size = failure.stackBytes.map { " of \(Size.text($0))" } ?? ""
    let below = overflow.bytesBelow.map { ", by a write \($0) bytes below it" } ?? ""
    let name = overflow.process.map { " of \($0)" } ?? ""
    failure.sentence =
      "The kernel ran past the end of the stack\(size)\(name)\(below): its code used more stack than there is, and free memory has nothing to do with it."
    failure.evidence = [Evidence(line: overflow.line, text: "the kernel reports that a stack has overflowed")]
    return failure
  }
}
