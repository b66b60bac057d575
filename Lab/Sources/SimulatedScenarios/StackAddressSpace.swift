// The number of stacks that fit into the vmalloc area, found by making allocators on a simulated machine.

import KernelStacks
import Scenarios
import SimulatedMachine

/// The capacity of the vmalloc area for stacks.
public struct StackAddressSpace: Sendable {
  /// The size of the area in bytes.
  public let areaBytes: Int
  /// The size of a stack in bytes.
  public let stackBytes: Int
  /// The size of a slot in bytes: the stack and its guard.
  public let slotBytes: Int
  /// The largest capacity of an allocator.
  public let capacity: Int

  /// Finds the largest capacity that an allocator of 16 KiB stacks accepts with the whole vmalloc area to itself.
  ///
  /// Memory does not limit it: slots take no frames before they are used.
  ///
  /// - Parameter virtualAddressBits: 39 or 48.
  public init(virtualAddressBits: Int = 39) throws(SimulatedRunError) {
    var options = ScenarioOptions()
    options.memoryBytes = 64 << 20
    options.virtualAddressBits = virtualAddressBits
    let area: VirtualAddressRange
    do {
      area = try AddressLayout(virtualAddressBits: virtualAddressBits).vmallocArea
    } catch { throw .layout(error) }
    areaBytes = area.byteCount
    var configuration = StackConfiguration(.vmalloc)
    stackBytes = configuration.size
    slotBytes = 1 << (Int.bitWidth - (configuration.size + configuration.guardMinimum - 1).leadingZeroBitCount)
    // A binary search between the largest accepted and the smallest refused capacity.
    var accepted = 0
    var refused = areaBytes / slotBytes + 1
    while refused - accepted > 1 {
      let asked = accepted + (refused - accepted) / 2
      configuration.capacity = asked
      if try Self.isAccepted(configuration, options) { accepted = asked } else { refused = asked }
    }
    capacity = accepted
  }

  private static func isAccepted(
    _ configuration: StackConfiguration, _ options: ScenarioOptions
  ) throws(SimulatedRunError) -> Bool {
    let world = try SimulatedWorld(options)
    defer { withExtendedLifetime(world) {} }
    let frames = try world.makeFrames()
    let arena = try world.makeArena(options)
    do {
      let stacks = try BareStacks<Simulated>(
        configuration, machine: world.simulation.machine, frames: frames, arena: arena)
      return stacks.capacity == configuration.capacity
    } catch { return false }
  }
}
