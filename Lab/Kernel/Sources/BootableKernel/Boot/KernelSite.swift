// The handle to the kernel's allocators: of no size, since all places are static.
import AArch64Machine
import KernelProcesses
import KernelStacks
import Scenarios

nonisolated(unsafe) private var frameWatch: UnsafeMutablePointer<FrameWatch>?

/// The handle to the kernel's allocators.
struct KernelSite: ScenarioParts {
  typealias M = AArch64
  typealias Frames = WatchedFrames<KernelSite>

  var machine: AArch64 { AArch64() }
  var frames: Frames { Frames(self) }
  var frameAllocator: UnsafeMutablePointer<BuddyAllocator<AArch64>> { KernelObjects.frames }
  var arena: UnsafeMutablePointer<VmallocArea<AArch64>> { KernelObjects.arena }
  var stacks: UnsafeMutablePointer<Stacks> { KernelObjects.stacks }
  var watch: UnsafeMutablePointer<FrameWatch>? {
    get { frameWatch }
    nonmutating set { frameWatch = newValue }
  }
}
