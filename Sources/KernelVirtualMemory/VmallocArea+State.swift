// How the state of a vmalloc area comes into being and ends.
//
// The first allocation makes a state that only it knows, and publishes it when nothing can fail any more. So a first
// allocation that fails leaves no frame behind, and no other CPU holds a pointer into one.

import KernelMachine
import Synchronization

extension VmallocArea {
  /// The published state, if there is one.
  @inlinable borrowing func publishedState() -> VmallocStatePointer? {
    let value = stateAddress.load(ordering: .acquiring)
    if value == 0 { return nil }
    let address = PhysicalAddress(value &- 1)
    return VmallocStatePointer(
      memory: machine.pointer(to: address), frame: address.frame, isPrivate: false)
  }

  /// The published state, or a new, private one.
  @inlinable borrowing func openState<Frames: FrameSource & ~Copyable>(
    frames: borrowing Frames
  ) throws(VmallocError) -> VmallocStatePointer {
    if let state = publishedState() { return state }
    let frame: PageFrame
    do {
      frame = try frames.allocate(FrameRequest(purpose: .metadata, cleared: true))
    } catch {
      throw .frames(error)
    }
    let memory = machine.pointer(to: frame.physicalAddress)
    VmallocState.make(at: memory, range: range)
    return VmallocStatePointer(memory: memory, frame: frame, isPrivate: true)
  }

  /// Makes a private state everybody's.
  ///
  /// - Returns: `false` if another one was there already.
  @inlinable borrowing func publish(_ state: VmallocStatePointer) -> Bool {
    stateAddress.compareExchange(
      expected: 0, desired: state.frame.physicalAddress.rawValue &+ 1, ordering: .acquiringAndReleasing
    ).exchanged
  }

  /// Gives a state back that was not published.
  @inlinable borrowing func discard<Frames: FrameSource & ~Copyable>(
    _ state: VmallocStatePointer, frames: borrowing Frames
  ) {
    if state.isPrivate { giveBackFrame(state.frame, to: frames) }
  }

  /// Ends the use of the vmalloc area: completes what is pending and gives the last frame of records back.
  ///
  /// Areas that are still in use stay mapped, and their records and tables stay allocated.
  @inlinable public consuming func close<Frames: FrameSource & ~Copyable>(frames: borrowing Frames) {
    _ = flush(frames: frames)
    guard let state = publishedState(), state.state.pointee.areas.count == 0 else { return }
    giveBackFrame(state.frame, to: frames)
  }

  /// What is in use and what is waiting, at this moment.
  @inlinable public var figures: VmallocFigures {
    borrowing get {
      guard let state = publishedState() else { return VmallocFigures() }
      let interrupts = machine.lock(state.lock)
      var figures = state.state.pointee.figures
      figures.recordFrames = state.state.pointee.records.frameCount
      machine.unlock(state.lock, restoring: interrupts)
      return figures
    }
  }
}
