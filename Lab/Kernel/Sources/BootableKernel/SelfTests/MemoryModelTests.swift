// Known patterns of accesses, which a memory model outside the machine counts: it writes a line for each. The test that boots
// this knows the answers.
import AArch64Machine
import CAArch64
import KernelStacks
import Scenarios

func testMemoryModel() -> Bool {
  attachMemoryModel()
  guard check("a memory model watches", memoryModel != nil) else { return false }
  let machine = AArch64()
  let frames = KernelObjects.frames
  let arena = KernelObjects.arena
  guard let block = try? frames.pointee.allocate(FrameRequest(order: 6, purpose: .other)),
    let area = try? arena.pointee.vmalloc(
      size: 96 * 16 * pageSize, caller: "memory model", frames: frames.pointee)
  else { return check("there is memory for the patterns", false) }
  let start = machine.linearAddress(of: block).rawValue
  // Nothing.
  modelled {}
  // Ten lines of a block of the linear map, loaded; then stored; then the same line ten times.
  modelled { loadWords(start, 10, 64) }
  modelled { storeWords(start, 10, 64) }
  modelled { loadWords(start, 10, 4) }
  // As many lines of one set as a cache of 2 ways of 16 KiB can keep, and one more, in turn.
  loadWords(start, 2, 16 << 10)
  modelled { loadWords(start, 2, 16 << 10) }
  loadWords(start, 3, 16 << 10)
  modelled { loadWords(start, 3, 16 << 10) }
  // A page of each of 96 stacks, at their distance and at twice that, in a part of the vmalloc area.
  let page = UInt(pageSize)
  loadWords(area.rawValue, 96, 8 * page)
  modelled { loadWords(area.rawValue, 96, 8 * page) }
  loadWords(area.rawValue, 96, 16 * page)
  modelled { loadWords(area.rawValue, 96, 16 * page) }
  try? arena.pointee.vfree(area, frames: frames.pointee)
  try? frames.pointee.free(block, order: 6)
  return true
}

@inline(__always)
private func modelled(_ body: () -> Void) {
  let machine = AArch64()
  let state = ca_disable_interrupts()
  _ = retiredInstructions(machine)
  body()
  _ = retiredInstructions(machine)
  ca_restore_interrupts(state)
  writeModelled(latestModelledOperation())
}

@inline(__always)
private func loadWords(_ start: UInt, _ count: Int, _ distance: UInt) {
  var address = start
  for _ in 0..<count {
    _ = ca_load(address)
    address &+= distance
  }
}

@inline(__always)
private func storeWords(_ start: UInt, _ count: Int, _ distance: UInt) {
  var address = start
  for _ in 0..<count {
    ca_store(address, 1)
    address &+= distance
  }
}
