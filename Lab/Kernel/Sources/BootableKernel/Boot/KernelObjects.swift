// The kernel's allocators, made once at boot in static memory.
import AArch64Machine
import CAArch64
import DeviceTree
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios

typealias Stacks = PartStacks<KernelSite>

nonisolated(unsafe) private var processesExist = false

/// The kernel's allocators and its processes, each at its own place.
enum KernelObjects {
  /// The board that the device tree describes.
  ///
  /// In static memory, as is ``memory``: too large for a stack.
  static var board: UnsafeMutablePointer<Board> {
    UnsafeMutablePointer(bitPattern: kernel_kernel_board()).unsafelyUnwrapped
  }

  /// The map of RAM and its reserved ranges.
  static var memory: UnsafeMutablePointer<PhysicalMemoryMap> {
    UnsafeMutablePointer(bitPattern: kernel_kernel_memory_map()).unsafelyUnwrapped
  }

  /// The frame allocator.
  ///
  /// This and the next three are made by ``start(_:layout:stacks:identifierBits:)``.
  static var frames: UnsafeMutablePointer<BuddyAllocator<AArch64>> {
    UnsafeMutablePointer(bitPattern: kernel_kernel_frames()).unsafelyUnwrapped
  }

  /// The vmalloc area.
  static var arena: UnsafeMutablePointer<VmallocArea<AArch64>> {
    UnsafeMutablePointer(bitPattern: kernel_kernel_arena()).unsafelyUnwrapped
  }

  /// The allocator of kernel stacks.
  static var stacks: UnsafeMutablePointer<Stacks> {
    UnsafeMutablePointer(bitPattern: kernel_kernel_stacks()).unsafelyUnwrapped
  }

  /// All processes.
  static var processes: UnsafeMutablePointer<Processes<KernelSite>> {
    UnsafeMutablePointer(bitPattern: kernel_kernel_processes()).unsafelyUnwrapped
  }

  /// The stack allocator of a benchmark run, in place of all four: it owns its frames and its area.
  ///
  /// Made by ``startBare(_:layout:stacks:)``.
  static var bareStacks: UnsafeMutablePointer<BareStacks<AArch64>> {
    UnsafeMutablePointer(bitPattern: kernel_bare_stacks()).unsafelyUnwrapped
  }

  /// Whether ``processes`` exist; false in a benchmark run.
  static var hasProcesses: Bool { processesExist }

  /// Makes the allocators of a benchmark run: stacks directly on frames.
  static func startBare(
    _ metadata: MetadataPlace, layout: AddressLayout, stacks configuration: StackConfiguration
  ) {
    makeBareStacks(makeFrames(metadata), layout, configuration)
    makeExceptionStack(bareStacks.pointee.arena, bareStacks.pointee.frames)
    startGrowth(bareStacks.pointee.grower)
  }

  /// Makes the allocators, the exception stack and the idle task; ASIDs have at most `identifierBits` bits.
  static func start(
    _ metadata: MetadataPlace, layout: AddressLayout, stacks configuration: StackConfiguration,
    identifierBits: Int
  ) {
    // The sizes that vectors.S reserves.
    precondition(MemoryLayout<PerCPU>.size <= PerCPU.stride)
    precondition(
      MemoryLayout<BuddyAllocator<AArch64>>.size <= 256 && MemoryLayout<VmallocArea<AArch64>>.size <= 256
        && MemoryLayout<Stacks>.size <= 64 && MemoryLayout<Processes<KernelSite>>.size <= 448
        && MemoryLayout<BareStacks<AArch64>>.size <= 1024 && MemoryLayout<Board>.size <= 3072
        && MemoryLayout<PhysicalMemoryMap>.size <= 2048 && MemoryLayout<Thread>.size <= 352)
    frames.initialize(to: makeFrames(metadata))
    arena.initialize(to: makeArena(layout))
    makeStacks(configuration)
    makeProcesses(identifierBits: identifierBits)
    processesExist = true
    PerCPU.at(0).initialize(to: PerCPU())
    adoptBootStack(configuration)
    makeExceptionStack(arena.pointee, frames.pointee)
    startGrowth(stacks.pointee.grower)
    let idle = allocateStack(whole: true)
    PerCPU.at(0).pointee.idle.prepareIdle(stackBase: idle.base.rawValue, stackTop: idle.top.rawValue)
    PerCPU.at(0).pointee.state = .online
    Scheduler.startCore()
  }

  // Separate functions: each call that reads the memory map copies it to the stack, and stack frames are to stay small.

  @inline(never)
  private static func makeFrames(_ metadata: MetadataPlace) -> BuddyAllocator<AArch64> {
    let machine = AArch64()
    let records = UnsafeMutableRawBufferPointer(
      start: machine.pointer(to: metadata.start), count: metadata.byteCount)
    do {
      return try BuddyAllocator(
        frames: memory.pointee, metadata: records, machine: machine, cpuCount: machine.cpuCount)
    } catch {
      fail("frame allocator", error)
    }
  }

  private static func makeArena(_ layout: AddressLayout) -> VmallocArea<AArch64> {
    let area = layout.vmallocArea
    return VmallocArea(area.lowerBound.rawValue..<area.upperBound.rawValue, machine: AArch64())
  }

  @inline(never)
  private static func makeStacks(_ configuration: StackConfiguration) {
    let site = KernelSite()
    do {
      stacks.initialize(
        to: try Stacks(configuration, machine: AArch64(), frames: site.frames, arena: PartArena(site)))
    } catch {
      fail("stack allocator", error)
    }
  }

  @inline(never)
  private static func makeBareStacks(
    _ frames: consuming BuddyAllocator<AArch64>, _ layout: AddressLayout, _ configuration: StackConfiguration
  ) {
    do {
      bareStacks.initialize(
        to: try BareStacks(configuration, machine: AArch64(), frames: frames, arena: makeArena(layout)))
    } catch {
      fail("stack allocator", error)
    }
  }

  @inline(never)
  private static func makeProcesses(identifierBits: Int) {
    do {
      processes.initialize(
        to: try Processes(KernelSite(), memory: memory.pointee, identifierBits: identifierBits))
    } catch {
      fail("process table", error)
    }
    processes.pointee.prepareWorkloads()
    processes.pointee.setDropFreeTranslations { dropTranslationsOfProcesses() }
  }

  private static func adoptBootStack(_ configuration: StackConfiguration) {
    let base = VirtualAddress(kernel_boot_stack_top()) - configuration.size
    guard base.rawValue >= kernel_boot_stack(),
      let leaf = TranslationTables(kernelOf: AArch64()).translate(base)
    else { fail("the boot stack is smaller than the asked stack size") }
    do {
      try stacks.pointee.adoptBootStack(at: base, firstFrame: leaf.frame(of: base))
    } catch {
      fail("boot stack", error)
    }
  }

  // An area of the vmalloc area: below it lies the guard page of the area before it.
  private static func makeExceptionStack<Frames: FrameSource & ~Copyable>(
    _ arena: borrowing VmallocArea<AArch64>, _ frames: borrowing Frames
  ) {
    let size = 4 * pageSize
    do {
      let base = try arena.vmalloc(size: size, caller: "exception stack", frames: frames)
      use_exception_stack((base + size).rawValue)
      PerCPU.at(0).pointee.start.exception_stack_top = UInt64((base + size).rawValue)
    } catch {
      fail("exception stack", error)
    }
  }

  /// Allocates pages of the vmalloc area, with a guard page on either side; they are never freed.
  static func allocateArea(pages: Int, _ caller: StaticString) -> StackBounds {
    do {
      let base =
        hasProcesses
        ? try arena.pointee.vmalloc(size: pages * pageSize, caller: caller, frames: frames.pointee)
        : try bareStacks.pointee.arena.vmalloc(
          size: pages * pageSize, caller: caller, frames: bareStacks.pointee.frames)
      return StackBounds(base: base, top: base + pages * pageSize)
    } catch {
      fail("kernel memory", error)
    }
  }

  /// Allocates a stack that is never freed.
  ///
  /// - Parameter whole: whether all of it is mapped at once, for a thread that must never fault.
  static func allocateStack(whole: Bool = false) -> StackBounds {
    hasProcesses
      ? allocateStack(whole, from: stacks.pointee) : allocateStack(whole, from: bareStacks.pointee)
  }

  private static func allocateStack<Frames: FrameSource & ~Copyable, Arena: StackArena & ~Copyable>(
    _ whole: Bool, from stacks: borrowing ThreadStackAllocator<AArch64, Frames, Arena>
  ) -> StackBounds {
    do {
      let stack = try stacks.allocate(node: nil)
      if whole { try stacks.populate(stack, bytes: stack.size) }
      let bounds = StackBounds(base: stack.usableRange.base, top: stack.usableRange.top)
      _ = stack.detach()
      return bounds
    } catch {
      fail("kernel stack", error)
    }
  }
}

// Invalidates the translations of all address spaces by one instruction; the kernel's are walked again.
//
// Not in the closure that calls it: calls inside such a closure are not inlined, and other instructions would come between
// these.
@inline(never)
private func dropTranslationsOfProcesses() {
  ca_dsb_ishst()
  ca_tlbi_vmalle1is()
  ca_dsb_ish()
  ca_isb()
}
