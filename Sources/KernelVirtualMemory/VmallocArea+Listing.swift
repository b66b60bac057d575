// The listing of all areas, in the format of Linux's /proc/vmallocinfo.

import KernelMachine
import Synchronization

extension VmallocArea {
  /// Writes one line for each area in use, lowest first, small ones last: its bounds and size with the guard, its caller,
  /// the number of mapped pages, and its kind.
  ///
  ///     0xffffff8008000000-0xffffff8008005000   20480 boot: exception stack pages=4 vmalloc
  ///     0xffffff8008200000-0xffffff8048201000 1073745920 stack arena stacks
  ///
  /// The lock is held for one area at a time, so areas may come and go between two lines.
  ///
  /// - Complexity: O(n log n) in the number of areas, and O(pages of the chunks).
  public borrowing func writeListing<Sink: TextSink>(to sink: inout Sink) {
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
      if isLast { break }
      Self.write(from: record.start, to: record.end, to: &sink)
      sink.write(record.caller)
      Self.write(pages: record.kind == .general ? record.byteCount &>> 12 : nil, to: &sink)
      next = record.end
    }
    for index in 0..<chunkCount { writeChunk(index, of: state, to: &sink) }
  }

  /// Writes the small areas of one chunk.
  borrowing func writeChunk<Sink: TextSink>(
    _ index: Int, of state: VmallocStatePointer, to sink: inout Sink
  ) {
    var page = 0
    while true {
      var found: SmallAreaWord?
      let interrupts = machine.lock(state.lock)
      if let chunk = state.small?.chunk(index) {
        while page < SmallChunk.usablePages {
          let word = SmallAreaWord(rawValue: chunk.word(page).pointee.load(ordering: .acquiring))
          if word.state == SmallAreaState.live {
            found = word
            break
          }
          page &+= 1
        }
      }
      machine.unlock(state.lock, restoring: interrupts)
      guard let found else { return }
      let start = chunkSpan(index).lowerBound.rawValue &+ UInt(bitPattern: page) &<< 12
      Self.write(from: start, to: start &+ UInt(bitPattern: found.totalPages) &<< 12, to: &sink)
      var character = found.caller
      while let current = character, current.pointee != 0 {
        sink.write(byte: current.pointee)
        character = current + 1
      }
      Self.write(pages: found.pages, to: &sink)
      page &+= found.totalPages
    }
  }

  static func write<Sink: TextSink>(from start: UInt, to end: UInt, to sink: inout Sink) {
    sink.write(hex: start)
    sink.write("-")
    sink.write(hex: end)
    sink.write(" ")
    let size = end &- start
    var threshold: UInt = 1_000_000
    while threshold > 1 && size < threshold {
      sink.write(" ")
      threshold /= 10
    }
    sink.write(size)
    sink.write(" ")
  }

  static func write<Sink: TextSink>(pages: Int?, to sink: inout Sink) {
    guard let pages else { return sink.write(" stacks\n") }
    sink.write(" pages=")
    sink.write(pages)
    sink.write(" vmalloc\n")
  }
}
