// The allocators and the processes of a kernel in a program of a host, side by side.
//
//     HostedParts --> frame allocator | vmalloc area | stacks | watch      a handle: a pointer to each
//          ^
//          +--------- processes                                            HostedKernel makes all of them, and ends them
#if !hasFeature(Embedded)
  import KernelProcesses
  import KernelStacks

  /// A handle to the allocators of a kernel in the memory of a host.
  public struct HostedParts<M: ScenarioMachine>: ScenarioParts {
    /// The source of page frames.
    public typealias Frames = WatchedFrames<HostedParts<M>>

    /// The machine.
    public let machine: M
    /// The frame allocator.
    public let frameAllocator: UnsafeMutablePointer<BuddyAllocator<M>>
    /// The vmalloc area.
    public let arena: UnsafeMutablePointer<VmallocArea<M>>
    /// The allocator of kernel stacks.
    public let stacks: UnsafeMutablePointer<ThreadStackAllocator<M, Frames, PartArena<HostedParts<M>>>>
    private let watchPlace: UnsafeMutablePointer<UnsafeMutablePointer<FrameWatch>?>

    fileprivate init(machine: M) {
      self.machine = machine
      frameAllocator = .allocate(capacity: 1)
      arena = .allocate(capacity: 1)
      stacks = .allocate(capacity: 1)
      watchPlace = .allocate(capacity: 1)
      watchPlace.initialize(to: nil)
    }

    /// Frees the places of the allocators, which are gone.
    fileprivate func deallocate() {
      watchPlace.deallocate()
      stacks.deallocate()
      arena.deallocate()
      frameAllocator.deallocate()
    }

    /// The source of page frames.
    public var frames: Frames { Frames(self) }
    /// The watch over page frames; `nil` ordinarily.
    public var watch: UnsafeMutablePointer<FrameWatch>? {
      get { watchPlace.pointee }
      nonmutating set { watchPlace.pointee = newValue }
    }
  }

  /// Why the parts of a kernel cannot be made.
  public enum HostedKernelError: Error {
    /// The stack allocator cannot be made.
    case stacks(ThreadStackError)
    /// The process table cannot be made.
    case processes(ProcessTableError)
  }

  /// The allocators and the processes of a kernel in the memory of a host; it gives everything back when it goes.
  public final class HostedKernel<M: ScenarioMachine> {
    /// Where they lie.
    public let parts: HostedParts<M>
    /// All processes, in whose memory scenarios keep their state.
    public let processes = UnsafeMutablePointer<Processes<HostedParts<M>>>.allocate(capacity: 1)
    // How many have been made: frames, area, stacks, processes.
    private var made = 2

    /// Makes stacks and processes beside a frame allocator and a vmalloc area.
    ///
    /// - Parameters:
    ///   - machine: the machine.
    ///   - frames: the frame allocator.
    ///   - arena: the vmalloc area.
    ///   - configuration: what kind of stacks.
    ///   - memory: the RAM that the frame allocator manages.
    ///   - identifierBits: how long an ASID is on this machine, or shorter.
    /// - Throws: when there is no room for the tables. Everything has been given back then.
    public init(
      machine: M, frames: consuming BuddyAllocator<M>, arena: consuming VmallocArea<M>,
      stacks configuration: StackConfiguration, memory: borrowing PhysicalMemoryMap, identifierBits: Int
    ) throws(HostedKernelError) {
      parts = HostedParts(machine: machine)
      parts.frameAllocator.initialize(to: frames)
      parts.arena.initialize(to: arena)
      do {
        parts.stacks.initialize(
          to: try PartStacks<HostedParts<M>>(
            configuration, machine: machine, frames: parts.frames, arena: PartArena(parts)))
      } catch { throw .stacks(error) }
      made = 3
      do {
        processes.initialize(to: try Processes(parts, memory: memory, identifierBits: identifierBits))
      } catch { throw .processes(error) }
      made = 4
      processes.pointee.prepareWorkloads()
    }

    deinit {
      // The watch lies in memory of processes.
      parts.watch = nil
      if made > 3 { processes.deinitialize(count: 1) }
      if made > 2 { parts.stacks.deinitialize(count: 1) }
      parts.arena.deinitialize(count: 1)
      parts.frameAllocator.deinitialize(count: 1)
      processes.deallocate()
      parts.deallocate()
    }
  }
#endif
