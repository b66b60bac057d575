// The listing of all areas, in the form of /proc/vmallocinfo.

import KernelMachine

extension VmallocArea {
  /// Writes one line for each area in use, lowest first: its bounds and size with the guard, who asked for it, how many
  /// pages are mapped, and its kind.
  ///
  ///     0xffffff8008000000-0xffffff8008005000   20480 boot: exception stack pages=4 vmalloc
  ///     0xffffff8008200000-0xffffff8048201000 1073745920 stack arena stacks
  ///
  /// The lock is held for one area at a time, so areas may come and go between two lines.
  @inlinable public borrowing func writeListing<Sink: TextSink>(to sink: inout Sink) {
    guard let state = publishedState() else { return }
    var next: UInt = range.lowerBound.rawValue
    while true {
      let interrupts = machine.lock(state.lock)
      var area = state.state.pointee.areas.firstArea(startingAtOrAbove: next)
      while area != state.state.pointee.areas.sentinel, area.pointee.state != .live {
        area = area.pointee.next.unsafelyUnwrapped
      }
      let isLast = area == state.state.pointee.areas.sentinel
      let record = area.pointee
      machine.unlock(state.lock, restoring: interrupts)
      if isLast { return }
      Self.write(record, to: &sink)
      next = record.end
    }
  }

  @inlinable static func write<Sink: TextSink>(_ area: AreaRecord, to sink: inout Sink) {
    sink.write(hex: area.start)
    sink.write("-")
    sink.write(hex: area.end)
    sink.write(" ")
    let size = area.end &- area.start
    var threshold: UInt = 1_000_000
    while threshold > 1 && size < threshold {
      sink.write(" ")
      threshold /= 10
    }
    sink.write(size)
    sink.write(" ")
    sink.write(area.caller)
    switch area.kind {
    case .general:
      sink.write(" pages=")
      sink.write(area.byteCount &>> 12)
      sink.write(" vmalloc\n")
    case .stacks:
      sink.write(" stacks\n")
    }
  }
}
