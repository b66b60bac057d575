// The allocators of the kernel, made once at boot, in static memory.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelAssembly
  import KernelStacks
  import Scenarios

  typealias Stacks = ScenarioStacks<AArch64>
  typealias KernelProcesses = Processes<AArch64>

  /// The kernel's allocators: processes, which own stacks, which own frames and vmalloc area.
  enum KernelObjects {
    private static var place: UnsafeMutablePointer<KernelProcesses> {
      UnsafeMutablePointer(bitPattern: kernel_kernel_objects()).unsafelyUnwrapped
    }

    /// All processes, and through them everything else. Made by ``start(_:_:layout:stacks:)``.
    static var processes: UnsafeMutablePointer<KernelProcesses> { place }

    /// Makes the allocators.
    @inline(never)
    static func start(
      _ memory: borrowing PhysicalMemoryMap, _ metadata: MetadataPlace, layout: AddressLayout,
      stacks configuration: StackConfiguration
    ) {
      precondition(MemoryLayout<KernelProcesses>.size <= 3072)
      let machine = AArch64()
      let records = UnsafeMutableRawBufferPointer(
        start: machine.pointer(to: metadata.start), count: metadata.byteCount)
      let frames: BuddyAllocator<AArch64>
      do {
        frames = try BuddyAllocator(frames: memory, metadata: records, machine: machine)
      } catch {
        fail("frame allocator", error)
      }
      let area = layout.vmallocArea
      let stacks: Stacks
      do {
        stacks = try Stacks(
          configuration, machine: machine, frames: FaultInjectingFrames(frames),
          arena: VmallocArea(area.lowerBound.rawValue..<area.upperBound.rawValue, machine: machine))
      } catch {
        fail("stack allocator", error)
      }
      do {
        place.initialize(to: try KernelProcesses(machine: machine, stacks: stacks, memory: memory))
      } catch {
        fail("process table", error)
      }
      adoptBootStack(configuration)
      makeExceptionStack()
      let idle = allocateStack()
      Scheduler.prepareIdle(stackBase: idle.base.rawValue, stackTop: idle.top.rawValue)
    }

    private static func adoptBootStack(_ configuration: StackConfiguration) {
      let base = VirtualAddress(kernel_boot_stack_top()) - configuration.size
      guard base.rawValue >= kernel_boot_stack(),
        let leaf = TranslationTables(kernelOf: AArch64()).translate(base)
      else { fail("the boot stack is smaller than the asked stack size") }
      do {
        try processes.pointee.stacks.adoptBootStack(at: base, firstFrame: leaf.frame(of: base))
      } catch {
        fail("boot stack", error)
      }
    }

    // An area of the vmalloc area: what lies below it is the guard page of the area before it.
    private static func makeExceptionStack() {
      let size = 4 * pageSize
      do {
        let base = try processes.pointee.stacks.arena.vmalloc(
          size: size, caller: "exception stack", frames: processes.pointee.stacks.frames)
        use_exception_stack((base + size).rawValue)
      } catch {
        fail("exception stack", error)
      }
    }

    /// A stack that is never given back.
    static func allocateStack() -> StackBounds {
      do {
        let stack = try processes.pointee.stacks.allocate(node: nil)
        let bounds = StackBounds(base: stack.usableRange.base, top: stack.usableRange.top)
        _ = stack.detach()
        return bounds
      } catch {
        fail("kernel stack", error)
      }
    }
  }
#endif
