// A self-test of clearing: it stores words at every depth of a stack and looks for them in the next owner's, with and without
// dirty state.
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios

func testDirtyState() -> Bool {
  let tracks = KernelAddressSpace.keepsDirtyState
  let isTracked = tracks && KernelObjects.stacks.pointee.configuration.strategy == .vmalloc
  var passed = check(
    "dirty state is used where the CPU has it", KernelObjects.stacks.pointee.clearsOnlyDirtyPages == isTracked
  )
  Console.print(isTracked ? "pages are cleared if they are dirty" : "all pages are cleared")
  do {
    if isTracked { passed = try entriesFollowStores() && passed }
    passed = try nothingIsLeftAtAnyDepth() && passed
  } catch { fail("stack", error) }
  return passed
}

private func words(_ base: VirtualAddress) -> UnsafeMutablePointer<UInt64> {
  UnsafeMutableRawPointer(bitPattern: base.rawValue).unsafelyUnwrapped.assumingMemoryBound(to: UInt64.self)
}

// The CPU sets the dirty state: no instruction of this kernel does.
private func entriesFollowStores() throws(ThreadStackError) -> Bool {
  KernelObjects.stacks.pointee.reclaim(target: .max)
  let stack = try KernelObjects.stacks.pointee.allocate(node: nil)
  let base = stack.base
  var passed = check("a new stack is clean", KernelObjects.stacks.pointee.dirtyPageCount(base) == 0)
  for page in 0..<4 { _ = ca_load(base.rawValue + UInt(page) * 4096) }
  passed = check("loads leave it clean", KernelObjects.stacks.pointee.dirtyPageCount(base) == 0) && passed
  ca_store(base.rawValue + 4096, 1)
  AArch64().completeAccesses()
  let entry = TranslationTables(kernelOf: AArch64()).translate(base + 4096)?.entry
  passed =
    check(
      "a store makes its page dirty, and no other",
      KernelObjects.stacks.pointee.dirtyPageCount(base) == 1 && entry?.isDirty == true) && passed
  ca_store(base.rawValue + 4096 + 8, 1)
  AArch64().clear(base + 12288, byteCount: 4096)
  passed =
    check("clearing makes a page dirty", KernelObjects.stacks.pointee.dirtyPageCount(base) == 2) && passed
  if let frame = KernelObjects.stacks.pointee.page(of: base) {
    KernelObjects.stacks.pointee.markWritten(base, byteCount: 8)
    AArch64().pointer(to: frame.physicalAddress).storeBytes(of: 1, as: UInt64.self)
  }
  passed =
    check(
      "a page written through the linear map is dirty once it was announced",
      KernelObjects.stacks.pointee.dirtyPageCount(base) == 3) && passed
  KernelObjects.stacks.pointee.free(stack)
  let next = try KernelObjects.stacks.pointee.allocate(node: nil)
  passed =
    check("the same stack comes back, zeroed", next.base == base && firstLeftover(base) == nil) && passed
  passed =
    check("what was clean was not touched", KernelObjects.stacks.pointee.dirtyPageCount(base) == 3) && passed
  KernelObjects.stacks.pointee.free(next)
  KernelObjects.stacks.pointee.reclaim(target: .max)
  return passed
}

private func firstLeftover(_ base: VirtualAddress) -> Int? {
  let words = words(base)
  for index in 0..<2048 where words[index] != 0 { return index }
  return nil
}

private func nothingIsLeftAtAnyDepth() throws(ThreadStackError) -> Bool {
  let isGrowing = KernelObjects.stacks.pointee.configuration.strategy == .growing
  let first = isGrowing ? 1536 : 0
  var leftovers = 0
  for index in first..<2048 {
    // Now and then a newly made stack: its pages are clean again.
    if index & 31 == 0 { KernelObjects.stacks.pointee.reclaim(target: .max) }
    let stack = try KernelObjects.stacks.pointee.allocate(node: nil)
    let base = stack.base
    words(base)[index] = .max
    KernelObjects.stacks.pointee.free(stack)
    let next = try KernelObjects.stacks.pointee.allocate(node: nil)
    for other in first..<2048 where words(next.base)[other] != 0 { leftovers += 1 }
    if next.base != base { leftovers += 1 }
    KernelObjects.stacks.pointee.free(next)
  }
  return check("nothing is left of what was stored at any depth", leftovers == 0)
}
