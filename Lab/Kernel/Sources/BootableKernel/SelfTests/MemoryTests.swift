// Self-tests of the address space: permissions, the vmalloc area, NUMA nodes, lookups.
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios

// `ret`, as data.
nonisolated(unsafe) private var returnInstruction: UInt32 = 0xd65f_03c0

// The linear-map address of an address in the image.
private func alias(_ address: UInt) -> UInt {
  let address = VirtualAddress(address)
  guard let leaf = TranslationTables(kernelOf: AArch64()).translate(address) else { return 0 }
  return leaf.physicalAddress(of: address).rawValue + AArch64().linearMapOffset
}

private func isPermissionFault(_ syndrome: UInt64, _ expected: ExceptionClass) -> Bool {
  let syndrome = ExceptionSyndrome(rawValue: syndrome)
  return syndrome.exceptionClass == expected && syndrome.isPermissionFault
}

func testWriteXorExecute() -> Bool {
  let text = kernel_image_start()
  let rodata = kernel_text_end()
  let data = withUnsafeMutablePointer(to: &returnInstruction) { UInt(bitPattern: $0) }
  ca_store32(data, 0xd65f_03c0)
  ca_synchronize_instructions(data, 4)
  var passed = check("text can be read", probe_load(text) == 0)
  passed = check("text cannot be written", isPermissionFault(probe_store(text), .dataAbort)) && passed
  passed = check("rodata cannot be written", isPermissionFault(probe_store(rodata), .dataAbort)) && passed
  passed =
    check(
      "text cannot be written through the linear map", isPermissionFault(probe_store(alias(text)), .dataAbort)
    )
    && passed
  passed =
    check(
      "rodata cannot be written through the linear map",
      isPermissionFault(probe_store(alias(rodata)), .dataAbort))
    && passed
  passed = check("data can be written", probe_store(data) == 0) && passed
  passed = check("data can be written through the linear map", probe_store(alias(data)) == 0) && passed
  passed = check("data cannot be executed", isPermissionFault(probe_call(data), .instructionAbort)) && passed
  passed =
    check("the linear map cannot be executed", isPermissionFault(probe_call(alias(data)), .instructionAbort))
    && passed
  passed =
    check(
      "text cannot be executed through the linear map",
      isPermissionFault(probe_call(alias(kernel_probe_recover())), .instructionAbort)) && passed
  passed =
    check("rodata cannot be executed", isPermissionFault(probe_call(rodata), .instructionAbort)) && passed
  return checkAllLeaves() && passed
}

// Checks every entry of the kernel half.
private func checkAllLeaves() -> Bool {
  var both = 0
  var user = 0
  let layout: AddressLayout
  do {
    layout = try AddressLayout(virtualAddressBits: AArch64().virtualAddressBits)
  } catch {
    return false
  }
  let tables = TranslationTables(kernelOf: AArch64())
  let ranges: InlineArray<3, VirtualAddressRange> = [
    layout.kernelImage, layout.vmallocArea, layout.linearMap,
  ]
  for index in 0..<ranges.count {
    tables.visitLeaves(in: ranges[index]) { leaf in
      // A clean page can become writable.
      if leaf.entry.isWritable || !leaf.entry.isDirty, leaf.entry.isKernelExecutable { both += 1 }
      if leaf.entry.isUserAccessible || leaf.entry.isUserExecutable { user += 1 }
    }
  }
  let first = check("no mapping is both writable and executable", both == 0)
  return check("no mapping of the kernel is open to EL0", user == 0) && first
}

func testVmalloc() -> Bool {
  let free = KernelObjects.frames.pointee.freeFrames
  let area: VirtualAddress
  do {
    area = try KernelObjects.arena.pointee.vmalloc(
      size: 12288, caller: "self-test", frames: KernelObjects.frames.pointee)
  } catch {
    fail("vmalloc", error)
  }
  var passed = check("an area is writable up to its last byte", probe_store((area + 12287).rawValue) == 0)
  passed =
    check(
      "a guard page follows an area",
      ExceptionSyndrome(rawValue: probe_load((area + 12288).rawValue)).isTranslationFault)
    && passed
  passed =
    check(
      "an area cannot be executed", isPermissionFault(probe_call(area.rawValue), .instructionAbort)) && passed
  passed = check("a page's frame is found", KernelObjects.arena.pointee.page(of: area) != nil) && passed
  var console = Console()
  console.beginLine()
  KernelObjects.arena.pointee.writeListing(to: &console)
  KernelObjects.frames.pointee.writeBuddyInfo(to: &console)
  console.endLine()
  do {
    try KernelObjects.arena.pointee.vfree(area, frames: KernelObjects.frames.pointee)
  } catch {
    fail("vfree", error)
  }
  KernelObjects.processes.pointee.reclaim()
  passed =
    check(
      "a freed area is not mapped", ExceptionSyndrome(rawValue: probe_load(area.rawValue)).isTranslationFault)
    && passed
  return check("all frames are back", KernelObjects.frames.pointee.freeFrames == free) && passed
}

func testNodes() -> Bool {
  let processes = KernelObjects.processes
  guard check("there are two nodes", KernelObjects.frames.pointee.nodeCount == 2) else { return false }
  let free = KernelObjects.frames.pointee.freeFrames
  // Takes all frames of node 0, chained through their first words.
  var chain: UInt = 0
  let machine = AArch64()
  while KernelObjects.frames.pointee.freeFrames(on: NodeID(0)) > 0 {
    do {
      let frame = try KernelObjects.frames.pointee.allocate(FrameRequest(node: NodeID(0), purpose: .other))
      machine.pointer(to: frame.physicalAddress).storeBytes(of: chain, as: UInt.self)
      chain = frame.physicalAddress.rawValue
    } catch {
      fail("node 0", error)
    }
  }
  var passed = check("node 0 is empty", KernelObjects.frames.pointee.freeFrames(on: NodeID(0)) == 0)
  let before = KernelObjects.stacks.pointee.kernelStackKiB(on: NodeID(1))
  do {
    let stack = try KernelObjects.stacks.pointee.allocate(node: NodeID(0))
    let isRemote = KernelObjects.stacks.pointee.page(of: stack.base).map {
      KernelObjects.frames.pointee.node(of: $0) == NodeID(1)
    }
    passed = check("a stack comes from node 1", isRemote == true) && passed
    passed =
      check("it is accounted to node 1", KernelObjects.stacks.pointee.kernelStackKiB(on: NodeID(1)) > before)
      && passed
    KernelObjects.stacks.pointee.free(stack)
  } catch {
    fail("stack", error)
  }
  while chain != 0 {
    let frame = PhysicalAddress(chain).frame
    chain = machine.pointer(to: frame.physicalAddress).load(as: UInt.self)
    do {
      try KernelObjects.frames.pointee.free(frame, order: 0)
    } catch {
      fail("node 0", error)
    }
  }
  processes.pointee.reclaim()
  return check("all frames are back", KernelObjects.frames.pointee.freeFrames == free) && passed
}

func testLookup() -> Bool {
  var passed = true
  if case .bootStack = KernelObjects.stacks.pointee.classify(
    stackPointer: VirtualAddress(UInt(ca_stack_pointer()) & ~15))
  {
  } else {
    passed = false
  }
  _ = check("the boot task runs on the boot stack", passed)
  do {
    let stack = try KernelObjects.stacks.pointee.allocate(node: nil)
    let info = KernelObjects.stacks.pointee.threadInfo(stackPointer: stack.top - 512)
    passed = check("thread_info is found from a stack pointer", info == stack.threadInfo) && passed
    // The page of thread_info is mapped in every stack.
    let frame = KernelObjects.stacks.pointee.page(of: stack.threadInfo)
    let leaf = TranslationTables(kernelOf: AArch64()).translate(stack.threadInfo)
    passed =
      check(
        "a stack's frame is what its translation says",
        frame != nil && leaf?.frame(of: stack.threadInfo) == frame)
      && passed
    KernelObjects.stacks.pointee.free(stack)
  } catch {
    fail("stack", error)
  }
  return passed
}
