// The allocators and the processes of a simulated kernel, side by side.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine

/// Where the parts of a simulated kernel lie: a pointer to their places.
struct SimulatedParts: ScenarioParts {
  typealias M = Simulated
  typealias Frames = WatchedFrames<SimulatedParts>

  /// The places; what lies there is made by ``SimulatedObjects``.
  struct Places {
    let machine: Simulated
    let frameAllocator = UnsafeMutablePointer<BuddyAllocator<Simulated>>.allocate(capacity: 1)
    let arena = UnsafeMutablePointer<VmallocArea<Simulated>>.allocate(capacity: 1)
    let stacks = UnsafeMutablePointer<PartStacks<SimulatedParts>>.allocate(capacity: 1)
    var watch: UnsafeMutablePointer<FrameWatch>?
  }

  fileprivate let places: UnsafeMutablePointer<Places>

  var machine: Simulated { places.pointee.machine }
  var frames: Frames { Frames(self) }
  var frameAllocator: UnsafeMutablePointer<BuddyAllocator<Simulated>> { places.pointee.frameAllocator }
  var arena: UnsafeMutablePointer<VmallocArea<Simulated>> { places.pointee.arena }
  var stacks: UnsafeMutablePointer<PartStacks<SimulatedParts>> { places.pointee.stacks }
  var watch: UnsafeMutablePointer<FrameWatch>? {
    get { places.pointee.watch }
    nonmutating set { places.pointee.watch = newValue }
  }
}

/// The allocators of a simulated kernel and its processes; gives everything back when it goes.
final class SimulatedObjects {
  let parts: SimulatedParts
  let processes = UnsafeMutablePointer<Processes<SimulatedParts>>.allocate(capacity: 1)
  /// How many of the objects have been made: frames, area, stacks, processes.
  private var made = 0

  /// Makes all of them, with stacks as the options ask for.
  ///
  /// Once only in a world.
  init(_ options: ScenarioOptions, in world: SimulatedWorld) throws(SimulatedRunError) {
    let places = UnsafeMutablePointer<SimulatedParts.Places>.allocate(capacity: 1)
    places.initialize(to: SimulatedParts.Places(machine: world.simulation.machine))
    parts = SimulatedParts(places: places)
    parts.frameAllocator.initialize(to: try world.makeFrames())
    made = 1
    parts.arena.initialize(to: try world.makeArena(options))
    made = 2
    do {
      parts.stacks.initialize(
        to: try PartStacks<SimulatedParts>(
          StackConfiguration(options.strategy, size: options.stackSize), machine: parts.machine,
          frames: parts.frames, arena: PartArena(parts)))
    } catch { throw .stacks(error) }
    made = 3
    do {
      // As few ASIDs as a CPU may have, so that they are handed out again and again.
      processes.initialize(to: try Processes(parts, memory: world.map, identifierBits: 8))
    } catch { throw .processes(error) }
    made = 4
    processes.pointee.prepareWorkloads()
  }

  deinit {
    // The watch lies in memory of processes.
    parts.watch = nil
    if made > 3 { processes.deinitialize(count: 1) }
    if made > 2 { parts.stacks.deinitialize(count: 1) }
    if made > 1 { parts.arena.deinitialize(count: 1) }
    if made > 0 { parts.frameAllocator.deinitialize(count: 1) }
    processes.deallocate()
    parts.stacks.deallocate()
    parts.arena.deallocate()
    parts.frameAllocator.deallocate()
    parts.places.deinitialize(count: 1)
    parts.places.deallocate()
  }
}
