// What the stacks of threads cost in memory: of threads that have just begun, and of threads that have gone as deep as
// those of real machines.

import KernelStacks
import SeededRandom

extension StackBenchmark {
  /// Writes how much memory a thread's stack takes, page tables and metadata included, with all stacks live.
  ///
  /// - Parameter overhead: what page tables and metadata take of it.
  func measureThreadMemory<Console: TextSink>(
    overhead: Int, seed: UInt64, _ stacks: borrowing BareStacks<M>, _ rows: inout BenchmarkRows<Console>
  ) {
    let live = Self.many
    rows.threadMemoryRow("stack memory of a thread, idle", mappedBytes(stacks) / live + overhead, live: live)
    // See StackDepths: 97 of 100 stay within the first page.
    var random = SplitMix64(seed: seed)
    let interrupts = machine.disableInterrupts()
    for number in 0..<live where random.next(below: 100) >= 97 {
      let base = addresses[number]
      if stacks.prepareToRun(base) { _ = stacks.grower.grow(at: base, runningOn: base) }
    }
    machine.restoreInterrupts(interrupts)
    // What is measured next relies on a full reserve.
    stacks.fillReserve()
    rows.threadMemoryRow(
      "stack memory of a thread, after typical depths", mappedBytes(stacks) / live + overhead, live: live)
  }

  private func mappedBytes(_ stacks: borrowing BareStacks<M>) -> Int {
    var pages = 0
    for number in 0..<Self.many { pages += stacks.mappedPageCount(addresses[number]) }
    return pages * pageSize
  }
}
