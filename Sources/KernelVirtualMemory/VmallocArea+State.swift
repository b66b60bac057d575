// The making and the end of a vmalloc area's state.
//
// The first allocation makes a private state, and publishes it when nothing can fail any more. So a first allocation that
// fails leaves no frame behind, and no other CPU holds a pointer into one.

import KernelMachine
import Synchronization

extension VmallocArea {
  /// The published state, if there is one.
  borrowing func publishedState() -> VmallocStatePointer? {
    let value = stateAddress.load(ordering: .acquiring)
    if value == 0 { return nil }
    let address = PhysicalAddress(value &- 1)
    return VmallocStatePointer(
      memory: machine.pointer(to: address), frame: address.frame, isPrivate: false)
  }

  /// The published state, or a new, private one.
  borrowing func openState<Frames: FrameSource & ~Copyable>(
    frames: borrowing Frames
  ) throws(VmallocError) -> VmallocStatePointer {
    if let state = publishedState() { return state }
    let wanted = chunkCount > 0 ? 2 : 1
    var chain = FrameChain()
    do {
      try chain.grow(to: wanted, node: nil, purpose: .metadata, from: frames, machine: machine)
    } catch {
      chain.giveBack(to: frames, machine: machine)
      throw .frames(error)
    }
    let frame = chain.pop(machine: machine)
    let memory = machine.pointer(to: frame.physicalAddress)
    var small: SmallAreas?
    var smallFrame: PageFrame?
    if wanted > 1 {
      let second = chain.pop(machine: machine)
      let records = SmallAreas(memory: machine.pointer(to: second.physicalAddress))
      records.initialize()
      small = records
      smallFrame = second
    }
    VmallocState.make(
      at: memory, range: VirtualAddressRange(range.lowerBound, VirtualAddress(smallBase)), small: small,
      smallFrame: smallFrame)
    return VmallocStatePointer(memory: memory, frame: frame, isPrivate: true)
  }

  /// Publishes a private state to all CPUs.
  ///
  /// - Returns: `false` if another one has been published already.
  borrowing func publish(_ state: VmallocStatePointer) -> Bool {
    stateAddress.compareExchange(
      expected: 0, desired: state.frame.physicalAddress.rawValue &+ 1, ordering: .acquiringAndReleasing
    ).exchanged
  }

  /// Frees a state that was not published.
  borrowing func discard<Frames: FrameSource & ~Copyable>(
    _ state: VmallocStatePointer, frames: borrowing Frames
  ) {
    if state.isPrivate { giveBack(state, to: frames) }
  }

  borrowing func giveBack<Frames: FrameSource & ~Copyable>(
    _ state: VmallocStatePointer, to frames: borrowing Frames
  ) {
    if let frame = state.state.pointee.smallFrame { giveBackFrame(frame, to: frames) }
    giveBackFrame(state.frame, to: frames)
  }

  /// Ends the use of the vmalloc area: completes what is pending and frees the last frames of records.
  ///
  /// Areas that are still in use stay mapped, and their records and tables stay allocated.
  public consuming func close<Frames: FrameSource & ~Copyable>(frames: borrowing Frames) {
    _ = flush(frames: frames)
    guard let state = publishedState(), state.state.pointee.areas.count == 0, state.state.pointee.chunks == 0
    else { return }
    giveBack(state, to: frames)
  }

  /// The name of the lock at an address, for reports of waits; `nil` if it is no lock of this area.
  public borrowing func lockName(at address: UInt) -> StaticString? {
    guard let state = publishedState() else { return nil }
    if UInt(bitPattern: state.flushLock) == address { return "areaFlush" }
    if UInt(bitPattern: state.lock) == address { return "largeAreas" }
    guard let small = state.small else { return nil }
    for cpu in 0..<SmallAreas.recordCount where UInt(bitPattern: small.lock(cpu)) == address {
      return "smallAreas"
    }
    return nil
  }

  /// The figures of what is in use and what is waiting, at this moment.
  public var figures: VmallocFigures {
    borrowing get {
      guard let state = publishedState() else { return VmallocFigures() }
      let interrupts = machine.lock(state.lock)
      var figures = state.state.pointee.figures
      figures.recordFrames = state.state.pointee.records.frameCount &+ state.state.pointee.chunks
      if let small = state.small {
        figures.recordFrames &+= 1
        for cpu in 0..<SmallAreas.recordCount {
          let inner = machine.lock(small.lock(cpu))
          let record = small.record(cpu)
          figures.areas &+= record.pointee.liveAreas
          figures.mappedPages &+= record.pointee.livePages
          figures.retiredAreas &+= record.pointee.pending.areas &+ record.pointee.ready.areas
          figures.retiredPages &+= record.pointee.pending.pages &+ record.pointee.ready.pages
          machine.unlock(small.lock(cpu), restoring: inner)
        }
      }
      machine.unlock(state.lock, restoring: interrupts)
      return figures
    }
  }
}
