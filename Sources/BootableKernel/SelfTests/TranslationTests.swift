// A self-test of invalidations: what one CPU has unmapped, no other sees any more.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelAssembly
  import KernelStacks
  import Scenarios

  // What the onlooker is to look at, and what it has seen: the steps go up by one, the answers follow them.
  nonisolated(unsafe) private var address: UInt64 = 0
  nonisolated(unsafe) private var step: UInt64 = 0
  nonisolated(unsafe) private var answered: UInt64 = 0
  nonisolated(unsafe) private var word: UInt64 = 0
  nonisolated(unsafe) private var isMapped: UInt64 = 0

  // With interrupts off: it is on one CPU from the first look to the last, and whoever asks is on another.
  private func onlook() {
    let state = ca_disable_interrupts()
    while true {
      while ca_load_acquire(&step) == answered { ca_wait_for_event() }
      let place = UInt(ca_load_acquire(&address))
      if place == 0 { break }
      isMapped = probe_load(place) == 0 ? 1 : 0
      word = isMapped == 1 ? ca_load(place) : 0
      ca_store_release(&answered, answered + 1)
      ca_send_event()
    }
    ca_restore_interrupts(state)
  }

  /// Has the onlooker look.
  private func ask(_ place: UInt) {
    ca_store_release(&address, UInt64(place))
    ca_store_release(&step, step + 1)
    ca_send_event()
    if place == 0 { return }
    while ca_load_acquire(&answered) != step {
      Scheduler.yield()
      ca_wait_for_event()
    }
  }

  private func isSeen(_ place: UInt, _ expected: UInt64) -> Bool {
    ask(place)
    return isMapped == 1 && word == expected
  }

  private func isGone(_ place: UInt) -> Bool {
    ask(place)
    return isMapped == 0
  }

  /// One CPU frees areas and stacks that another has just used; the other sees neither their old frames, nor, when the
  /// address is used again, anything but the new ones.
  func testTranslationsOfOtherCPUs() -> Bool {
    guard AArch64().cpuCount > 1 else { return check("there are several CPUs", false) }
    startThreads(1, { _ in onlook() })
    let stacks = KernelObjects.processes
    var (seen, gone, reused) = (true, true, 0)
    var last: UInt = 0
    for round in 1...8 {
      do {
        let area = try stacks.pointee.stacks.arena.vmalloc(
          size: 8192, caller: "self-test", frames: stacks.pointee.stacks.frames)
        if area.rawValue == last { reused += 1 }
        last = area.rawValue
        ca_store(last, UInt64(round))
        seen = isSeen(last, UInt64(round)) && seen
        try stacks.pointee.stacks.arena.vfree(area, frames: stacks.pointee.stacks.frames)
        _ = stacks.pointee.stacks.arena.flush(frames: stacks.pointee.stacks.frames)
        gone = isGone(last) && gone
      } catch {
        fail("area", error)
      }
    }
    var passed = check("the other CPU sees each area as it is", seen)
    passed = check("and not at all after its end", gone) && passed
    passed = check("an address was used again", reused > 0) && passed
    (seen, gone) = (true, true)
    for round in 1...8 {
      do {
        let stack = try stacks.pointee.stacks.allocate(node: nil)
        let place = stack.usableRange.top.rawValue - 64
        ca_store(place, UInt64(round))
        seen = isSeen(place, UInt64(round)) && seen
        stacks.pointee.stacks.free(stack)
        _ = stacks.pointee.stacks.reclaim(target: .max)
        gone = isGone(place) && gone
      } catch {
        fail("stack", error)
      }
    }
    passed = check("the other CPU sees each stack as it is", seen) && passed
    passed = check("and not at all when its frames are back", gone) && passed
    ask(0)
    awaitThreads()
    return passed
  }
#endif
