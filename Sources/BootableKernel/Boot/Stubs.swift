#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelAssembly
  import KernelMachine
  import KernelPageFrames
  import KernelVirtualMemory
  func startAllocators(
    _ memory: borrowing PhysicalMemoryMap, _ metadata: MetadataPlace, _ layout: AddressLayout
  ) {
    do {
      let b = try BuddyAllocator(
        frames: memory,
        metadata: UnsafeMutableRawBufferPointer(
          start: AArch64().pointer(to: metadata.start), count: metadata.byteCount), machine: AArch64())
      var c = Console(); c.write(byteCount: b.freeFrames << 12); c.write(" free\n")
    } catch { fail("buddy", error) }
  }
  func endOverflow(_ record: ThreadPointer, _ syndrome: ExceptionSyndrome, _ address: UInt) -> ThreadPointer? {
    nil
  }
  @c func userException(_ frame: UnsafeMutablePointer<kernel_frame>, _ syndrome: UInt64, _ address: UInt) {
    panic("user")
  }
  func runScenario(_ board: Board) {
    Console.print("hello")
    var n = 0
    while Interrupts.tickCount < 10 { n += 1 }
    Console.check("ticks", passed: n > 0)
    var c = Console(); c.write(Int(probe_store(kernel_image_start()))); c.write("\n")
    exitMachine(.success)
  }
#endif
