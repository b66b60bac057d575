// How long a CPU waits for another one, which may be stopped for long by a host that has other things to do.
import CAArch64

/// A wait of so many minutes for another CPU.
///
/// It is not over before the waiting CPU has looked some 15 times a second as well. Between two looks an emulator that runs CPUs in
/// turn runs all others; a real CPU looks at least that often, by its event stream. So time that a host gives to other programs is
/// no time in which a CPU was to answer.
struct Patience {
  private let deadline: UInt64
  private let leastLooks: Int
  private var looks = 0

  /// Begins to wait.
  init(minutes: Int) {
    deadline = ca_read_cntvct_el0() + UInt64(minutes) * 60 * ca_read_cntfrq_el0()
    leastLooks = minutes * 900
  }

  /// Notes a look in vain.
  ///
  /// - Returns: whether that was the last.
  mutating func isOver() -> Bool {
    looks += 1
    return looks > leastLooks && ca_read_cntvct_el0() > deadline
  }
}
