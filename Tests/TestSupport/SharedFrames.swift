// One buddy allocator for several users: an allocator of stacks, and tests that take memory away from it.

import KernelStacks
import SimulatedMachine

/// The buddy allocator over all of a simulated machine's memory.
package final class SharedFrames: @unchecked Sendable {
  /// The allocator itself.
  package let buddy: BuddyAllocator<Simulated>
  private let metadata: UnsafeMutableRawBufferPointer

  /// An allocator of all frames.
  ///
  /// - Parameter listedCPUs: the number of CPUs that keep lists of free frames.
  package init(_ simulation: Simulation, listedCPUs: Int = 0) throws {
    var map = PhysicalMemoryMap()
    for bank in simulation.memoryBanks {
      try map.addMemory(start: bank.start, byteCount: bank.byteCount, node: bank.node)
    }
    metadata = .allocate(
      byteCount: BuddyAllocator<Simulated>.metadataByteCount(for: map, cpuCount: listedCPUs), alignment: 64)
    buddy = try BuddyAllocator(
      frames: map, metadata: metadata, machine: simulation.machine, cpuCount: listedCPUs)
  }

  deinit { metadata.deallocate() }
}

/// A handle to shared frames, which an allocator consumes.
package struct SharedFramesHandle: FrameSource {
  let shared: SharedFrames

  /// Makes a handle to these frames.
  package init(_ shared: SharedFrames) { self.shared = shared }

  package func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
    try shared.buddy.allocate(request)
  }
  package func free(_ frame: PageFrame, order: Int) throws(FrameSourceError) {
    try shared.buddy.free(frame, order: order)
  }
  package func node(of frame: PageFrame) -> NodeID { shared.buddy.node(of: frame) }
  package func contains(_ frame: PageFrame) -> Bool { shared.buddy.contains(frame) }
  package var nodeCount: Int { shared.buddy.nodeCount }
  package var totalFrames: Int { shared.buddy.totalFrames }
}
