// The timer tick: the generic timer's virtual timer.
//
// Source: Arm Architecture Reference Manual (DDI 0487), D12 "The Generic Timer in AArch64 state".
import CAArch64

/// The current CPU's virtual timer, which interrupts at regular intervals.
struct TickTimer {
  /// Ticks per second, if the command line does not say otherwise.
  static var defaultFrequency: Int { 1000 }

  /// The interrupt's ID in the interrupt controller.
  let interrupt: UInt32
  /// Counter increments between two ticks.
  let interval: UInt64
  /// Ticks per second.
  let frequency: Int

  /// Makes a timer with a private interrupt's number (0…15).
  init(privateInterrupt: Int, frequency: Int) {
    interrupt = UInt32(16 + privateInterrupt)
    interval = ca_read_cntfrq_el0() / UInt64(frequency)
    self.frequency = frequency
  }

  /// Stops the tick, and clears its interrupt.
  func stop() {
    ca_write_cntv_ctl_el0(0)
    ca_isb()
  }

  /// Starts the next interval, and clears the interrupt.
  func arm() {
    ca_write_cntv_tval_el0(interval)
    ca_write_cntv_ctl_el0(1)
    ca_isb()
  }
}
