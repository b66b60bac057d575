// A self-test of clearing: it stores words at every depth of a stack and looks for them in the next owner's, with and without
// dirty state.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelAssembly
  import KernelProcesses
  import KernelStacks
  import Scenarios

  func testDirtyState() -> Bool {
    let stacks = KernelObjects.processes
    let tracks = KernelAddressSpace.keepsDirtyState
    let isTracked = tracks && stacks.pointee.stacks.configuration.strategy == .vmalloc
    var passed = check(
      "dirty state is used where the CPU has it", stacks.pointee.stacks.clearsOnlyDirtyPages == isTracked)
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
    let stacks = KernelObjects.processes
    stacks.pointee.stacks.reclaim(target: .max)
    let stack = try stacks.pointee.stacks.allocate(node: nil)
    let base = stack.base
    var passed = check("a new stack is clean", stacks.pointee.stacks.dirtyPageCount(base) == 0)
    for page in 0..<4 { _ = ca_load(base.rawValue + UInt(page) * 4096) }
    passed = check("loads leave it clean", stacks.pointee.stacks.dirtyPageCount(base) == 0) && passed
    ca_store(base.rawValue + 4096, 1)
    AArch64().completeAccesses()
    let entry = TranslationTables(kernelOf: AArch64()).translate(base + 4096)?.entry
    passed =
      check(
        "a store makes its page dirty, and no other",
        stacks.pointee.stacks.dirtyPageCount(base) == 1 && entry?.isDirty == true) && passed
    ca_store(base.rawValue + 4096 + 8, 1)
    AArch64().clear(base + 12288, byteCount: 4096)
    passed = check("clearing makes a page dirty", stacks.pointee.stacks.dirtyPageCount(base) == 2) && passed
    if let frame = stacks.pointee.stacks.page(of: base) {
      stacks.pointee.stacks.markWritten(base, byteCount: 8)
      AArch64().pointer(to: frame.physicalAddress).storeBytes(of: 1, as: UInt64.self)
    }
    passed =
      check(
        "a page written through the linear map is dirty once it was announced",
        stacks.pointee.stacks.dirtyPageCount(base) == 3) && passed
    stacks.pointee.stacks.free(stack)
    let next = try stacks.pointee.stacks.allocate(node: nil)
    passed =
      check("the same stack comes back, zeroed", next.base == base && firstLeftover(base) == nil) && passed
    passed = check("what was clean was not touched", stacks.pointee.stacks.dirtyPageCount(base) == 3) && passed
    stacks.pointee.stacks.free(next)
    stacks.pointee.stacks.reclaim(target: .max)
    return passed
  }

  private func firstLeftover(_ base: VirtualAddress) -> Int? {
    let words = words(base)
    for index in 0..<2048 where words[index] != 0 { return index }
    return nil
  }

  private func nothingIsLeftAtAnyDepth() throws(ThreadStackError) -> Bool {
    let stacks = KernelObjects.processes
    let isGrowing = stacks.pointee.stacks.configuration.strategy == .growing
    let first = isGrowing ? 1536 : 0
    var leftovers = 0
    for index in first..<2048 {
      // Now and then a newly made stack: its pages are clean again.
      if index & 31 == 0 { stacks.pointee.stacks.reclaim(target: .max) }
      let stack = try stacks.pointee.stacks.allocate(node: nil)
      let base = stack.base
      words(base)[index] = .max
      stacks.pointee.stacks.free(stack)
      let next = try stacks.pointee.stacks.allocate(node: nil)
      for other in first..<2048 where words(next.base)[other] != 0 { leftovers += 1 }
      if next.base != base { leftovers += 1 }
      stacks.pointee.stacks.free(next)
    }
    return check("nothing is left of what was stored at any depth", leftovers == 0)
  }
#endif
