// The operations on either side. In Swift they are functions that are not inlined, as those of C are for a caller in another
// language.

import HostYardstick
import KernelStacks

/// The number of stacks in a burst: more than a magazine holds, fewer than the depot keeps.
let burst = 50
/// The number of stacks in a crowd: all but the magazine's are given up, after demand has aged to 0.
let crowd = 125
private let forgetting = 64
private let framesOfStack = 4

/// An allocator in Swift, and room for stacks, which last as long as the process.
final class SwiftSide: @unchecked Sendable {
  let stacks: HostStacks
  private let owners = UnsafeMutablePointer<ThreadStack>.allocate(capacity: crowd)

  init(_ strategy: StackStrategy) throws {
    stacks = try makeStacks(strategy)
  }

  @inline(never)
  func allocateStack() -> ThreadStack {
    guard let stack = try? stacks.allocate(node: nil) else { fatalError("a stack was refused") }
    return stack
  }

  @inline(never)
  func freeStack(_ stack: consuming ThreadStack) { stacks.free(stack) }

  @inline(never)
  func allocateFrame() -> PageFrame {
    guard let frame = try? stacks.frames.allocate(FrameRequest(purpose: .other)) else {
      fatalError("a frame was refused")
    }
    return frame
  }

  @inline(never)
  func freeFrame(_ frame: PageFrame) {
    guard (try? stacks.frames.free(frame, order: 0)) != nil else { fatalError("a frame was not taken back") }
  }

  /// Allocates all stacks of a burst, then frees them.
  func runBurst() {
    for index in 0..<burst { (owners + index).initialize(to: allocateStack()) }
    for index in 0..<burst { freeStack((owners + index).move()) }
  }

  /// Makes and gives up stacks; the frames of each are put into the pool of zeroed frames before.
  func runCrowd() {
    for index in 0..<crowd {
      stacks.frames.fillZeroedPool(budget: framesOfStack)
      (owners + index).initialize(to: allocateStack())
    }
    for _ in 0..<forgetting { stacks.age() }
    for index in 0..<crowd { freeStack((owners + index).move()) }
  }
}

/// The same in C, where every function is a call into another unit.
final class CSide: @unchecked Sendable {
  let state: OpaquePointer
  private let owners = UnsafeMutablePointer<yardstick_stack>.allocate(capacity: crowd)

  init(_ strategy: StackStrategy) {
    state = makeYardstick(strategy)
  }

  func runBurst() {
    for index in 0..<burst { owners[index] = yardstick_allocate(state) }
    for index in 0..<burst { yardstick_free(state, owners[index]) }
  }

  func runCrowd() {
    for index in 0..<crowd {
      yardstick_fill_zeroed(state, UInt64(framesOfStack))
      owners[index] = yardstick_allocate(state)
    }
    for _ in 0..<forgetting { yardstick_age(state) }
    for index in 0..<crowd { yardstick_free(state, owners[index]) }
  }

  /// Stops if a stack or a frame was refused, or went to the wrong owner.
  func check() {
    let stack = yardstick_allocate(state)
    guard stack.word != 0 else { fatalError("a stack was refused") }
    yardstick_free(state, stack)
    let frame = yardstick_allocate_frame(state)
    guard frame != .max, yardstick_free_frame(state, frame) != 0, yardstick_lost_count(state) == 0 else {
      fatalError("a stack or a frame was not taken back")
    }
  }
}
