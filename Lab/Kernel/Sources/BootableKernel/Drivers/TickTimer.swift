// The timer tick: the generic timer's virtual timer.
//
// Source: Arm Architecture Reference Manual (DDI 0487), D12 "The Generic Timer in AArch64 state".
#if hasFeature(Embedded)
  import CAArch64

  /// The virtual timer of the CPU, interrupting at regular intervals.
  struct TickTimer {
    /// Ticks in a second.
    static var frequency: UInt64 { 1000 }

    /// The interrupt's ID in the interrupt controller.
    let interrupt: UInt32
    /// Counts between two ticks.
    let interval: UInt64

    /// A timer whose private interrupt has a number (0…15).
    init(privateInterrupt: Int) {
      interrupt = UInt32(16 + privateInterrupt)
      interval = ca_read_cntfrq_el0() / Self.frequency
    }

    /// Ends the tick; lowers the interrupt.
    func stop() {
      ca_write_cntv_ctl_el0(0)
      ca_isb()
    }

    /// Starts the next interval; lowers the interrupt.
    func arm() {
      ca_write_cntv_tval_el0(interval)
      ca_write_cntv_ctl_el0(1)
      ca_isb()
    }
  }
#endif
