// A self-test of invalidations: no CPU sees pages that another has unmapped.
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios
import Synchronization

// The address for the onlooker to read, and what it has seen: `step` counts requests, `answered` follows it.
private let address = Atomic<UInt64>(0)
nonisolated(unsafe) private var userRoot: UInt64 = 0
private let step = Atomic<UInt64>(0)
private let answered = Atomic<UInt64>(0)
nonisolated(unsafe) private var word: UInt64 = 0
nonisolated(unsafe) private var isMapped: UInt64 = 0

// Keeps interrupts off, so that it stays on one CPU from the first look to the last, while the asking thread is on another.
private func onlook() {
  let state = ca_disable_interrupts()
  while true {
    while step.load(ordering: .acquiring) == answered.load(ordering: .relaxed) { ca_wait_for_event() }
    let place = UInt(address.load(ordering: .acquiring))
    if place == 0 { break }
    // Only if it differs: writing it may drop the CPU's cached translations.
    if userRoot != Thread.current.pointee.head.ttbr0 { Scheduler.use(userRoot: userRoot) }
    isMapped = probe_load(place) == 0 ? 1 : 0
    word = isMapped == 1 ? ca_load(place) : 0
    answered.store(answered.load(ordering: .relaxed) + 1, ordering: .releasing)
    ca_send_event()
  }
  Scheduler.use(userRoot: UInt64(Scheduler.emptyUserRoot))
  ca_restore_interrupts(state)
}

/// Asks the onlooker to read an address, and waits for the answer; 0 ends the onlooker.
private func ask(_ place: UInt) {
  address.store(UInt64(place), ordering: .releasing)
  step.store(step.load(ordering: .relaxed) + 1, ordering: .releasing)
  ca_send_event()
  if place == 0 { return }
  while answered.load(ordering: .acquiring) != step.load(ordering: .relaxed) {
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

/// Checks that a CPU sees neither old frames of areas and stacks that another has freed, nor, at reused addresses, any but
/// the new ones.
func testTranslationsOfOtherCPUs() -> Bool {
  guard AArch64().cpuCount > 1 else { return check("there are several CPUs", false) }
  userRoot = UInt64(Scheduler.emptyUserRoot)
  startThreads(1, { _ in onlook() })
  var (seen, gone, reused) = (true, true, 0)
  var last: UInt = 0
  for round in 1...8 {
    do {
      let area = try KernelObjects.arena.pointee.vmalloc(
        size: 8192, caller: "self-test", frames: KernelObjects.frames.pointee)
      if area.rawValue == last { reused += 1 }
      last = area.rawValue
      ca_store(last, UInt64(round))
      seen = isSeen(last, UInt64(round)) && seen
      try KernelObjects.arena.pointee.vfree(area, frames: KernelObjects.frames.pointee)
      _ = KernelObjects.arena.pointee.flush(frames: KernelObjects.frames.pointee)
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
      let stack = try KernelObjects.stacks.pointee.allocate(node: nil)
      let place = stack.usableRange.top.rawValue - 64
      ca_store(place, UInt64(round))
      seen = isSeen(place, UInt64(round)) && seen
      KernelObjects.stacks.pointee.free(stack)
      _ = KernelObjects.stacks.pointee.reclaim(target: .max)
      gone = isGone(place) && gone
    } catch {
      fail("stack", error)
    }
  }
  passed = check("the other CPU sees each stack as it is", seen) && passed
  passed = check("and not at all when its frames are back", gone) && passed
  passed = testInvalidations() && passed
  ask(0)
  awaitThreads()
  return passed
}

// MARK: Each kind of invalidation

private let mark: UInt64 = 0x7261_6e67

/// Whether the other CPU sees a page, and no longer sees it after it is unmapped and invalidated once; several times.
private func isGoneAfter(
  _ scope: InvalidationScope, of range: VirtualAddressRange, in space: AddressSpaceID,
  at place: VirtualAddress, _ entry: PhysicalAddress
) -> Bool {
  let machine = AArch64()
  let valid = machine.readEntry(at: entry)
  for _ in 0..<4 {
    if !isSeen(place.rawValue, mark) { return false }
    machine.writeEntry(valid.retired, at: entry)
    machine.invalidate(range, in: space, scope: scope)
    let gone = isGone(place.rawValue)
    machine.writeEntry(valid, at: entry)
    machine.publishEntries()
    if !gone { return false }
  }
  return true
}

private func testInvalidations(
  in space: AddressSpaceID, at place: VirtualAddress, _ entry: PhysicalAddress,
  _ names: (
    page: StaticString, tables: StaticString, everything: StaticString
  )
) -> Bool {
  let page = VirtualAddressRange(place, byteCount: pageSize)
  var passed = check(names.page, isGoneAfter(.leaves, of: page, in: space, at: place, entry))
  passed =
    check(names.tables, isGoneAfter(.tablesAndLeaves, of: page, in: space, at: place, entry)) && passed
  return check(names.everything, isGoneAfter(.leaves, of: .everything, in: space, at: place, entry))
    && passed
}

/// Checks that the instruction of each kind of invalidation reaches other CPUs, for kernel and for user addresses.
private func testInvalidations() -> Bool {
  do {
    let area = try KernelObjects.arena.pointee.vmalloc(
      size: pageSize, caller: "self-test", frames: KernelObjects.frames.pointee)
    ca_store(area.rawValue, mark)
    let isKept = testInvalidations(ofKernelPage: area)
    let isKeptByUsers = testInvalidations(ofUserPageAt: VirtualAddress(0x40_0000), like: area)
    try KernelObjects.arena.pointee.vfree(area, frames: KernelObjects.frames.pointee)
    return isKept && isKeptByUsers
  } catch {
    fail("area", error)
  }
}

private func testInvalidations(ofKernelPage page: VirtualAddress) -> Bool {
  guard let entry = TranslationTables(kernelOf: AArch64()).existingLeafEntry(at: page) else {
    return check("an area has an entry", false)
  }
  return testInvalidations(
    in: .kernel, at: page, entry,
    (
      "an invalidation of a kernel page reaches the other CPU", "one of its tables does",
      "one of all kernel addresses does"
    ))
}

/// Maps the frame of a kernel page in the user half of an address space that only the onlooker walks, and checks
/// invalidations of it.
private func testInvalidations(ofUserPageAt place: VirtualAddress, like page: VirtualAddress) -> Bool {
  let space = AddressSpaceID(0x77)
  let tables: TranslationTables<AArch64>
  do {
    tables = try TranslationTables(userSpaceOf: AArch64(), frames: KernelObjects.frames.pointee)
  } catch {
    fail("address space", error)
  }
  guard let frame = KernelObjects.arena.pointee.page(of: page) else {
    return check("a page has a frame", false)
  }
  do {
    try tables.map(frame, at: place, .userReadWrite, frames: KernelObjects.frames.pointee)
  } catch {
    fail("user page", error)
  }
  guard let entry = tables.existingLeafEntry(at: place) else {
    return check("a user page has an entry", false)
  }
  userRoot = UInt64(tables.root.rawValue) | UInt64(space.rawValue) << 48
  let passed = testInvalidations(
    in: space, at: place, entry,
    (
      "an invalidation of a user page reaches the other CPU", "one of its tables does, too",
      "one of a whole user address space does"
    ))
  // The onlooker leaves the address space before it is destroyed.
  userRoot = UInt64(Scheduler.emptyUserRoot)
  let isLeft = isSeen(page.rawValue, mark)
  tables.destroy(in: space, to: KernelObjects.frames.pointee) { _ in }
  return passed && isLeft
}
