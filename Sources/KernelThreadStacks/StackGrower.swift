// Growth on a fault: what an exception handler needs, and nothing else.

import KernelMachine

/// What became of a fault.
public enum StackGrowth: UInt8, Equatable, Sendable {
  /// The page is mapped now, and all pages between it and those that were mapped before: the access can be repeated.
  ///
  /// The page may have been mapped before the fault came here: a CPU may take the fault of a walk that is older than the
  /// entry (Arm ARM D8.2, "Ordering of memory accesses from translation table walks"; FEAT_ETS2 is what rules it out).
  case grown
  /// The address is not on the running thread's own stack: something else is wrong.
  case notGrowth
  /// The reserve has too few frames: the thread was switched in without
  /// ``ThreadStackAllocator/prepareToRun(_:mayTakeFrames:)``. Nothing was mapped.
  case reserveTooSmall
}

/// Lets the running thread's stack grow; a handle that an exception handler can keep in a global.
///
/// It is valid as long as its allocator is.
public struct StackGrower<M: Machine> {
  let machine: M
  let control: UnsafeMutablePointer<StackControl>

  init(machine: M, control: UnsafeMutablePointer<StackControl>) {
    self.machine = machine
    self.control = control
  }

  /// Maps the page of an address that faulted, and every page between it and the lowest that is mapped.
  ///
  /// The frames come from this CPU's reserve, zeroed. It takes no lock, asks for no memory and needs no TLB
  /// invalidation: a stack's entry becomes valid only after the invalidation that followed its last life. Interrupts are
  /// off, and the code runs on a stack that cannot fault.
  ///
  /// - Parameters:
  ///   - address: what a translation fault names. Faults of other kinds are none of its business: a page that is mapped
  ///     counts as grown.
  ///   - base: the base of the running thread's own stack, from the record of the thread, not from its stack pointer.
  /// - Complexity: O(pages mapped).
  @inline(__always)
  public func grow(at address: VirtualAddress, runningOn base: VirtualAddress) -> StackGrowth {
    let offset = address.rawValue &- base.rawValue
    guard offset < UInt(bitPattern: control.pointee.geometry.size),
      control.pointee.isGrowing(base)
    else { return .notGrowth }
    let pages = control.pointee.pages(ofBase: base)
    let lowest = pages[Int(bitPattern: offset &>> UInt(bitPattern: pageShift))]
    // The top page is always mapped: the search ends there.
    var end = lowest
    while machine.readEntry(at: end).isEmpty { end = end + StackPages.entryBytes }
    guard end != lowest else { return machine.readEntry(at: lowest).isValid ? .grown : .notGrowth }

    let cpu = machine.currentCPU
    let reserve = control.pointee.reserve(ofCPU: cpu)
    let grown = control.pointee.grownFrames(of: reserve)
    let missing = StackPages(from: lowest, to: end)
    let left = reserve.pointee.count &- missing.count
    guard left >= 0 else { return .reserveTooSmall }
    reserve.pointee.count = left
    var frame = reserve.reservedFrames + left
    var rest = missing
    repeat {
      let reserved = frame.pointee
      machine.writeEntry(reserved.entry, at: rest.removeFirst())
      grown[reserved.node] &+= 1
      frame += 1
    } while !rest.isEmpty
    machine.publishEntries()
    let marker = StackMarker(entry: machine.readEntry(at: pages.first + control.pointee.markerDistance))
    // The exception that called has turned interrupts off.
    if marker.isCharged {
      GroupAccounts(control).chargeGrowth(missing.count, to: marker.group, cpu: cpu, .promised())
    }
    return .grown
  }

  /// Grows now, so that the next `bytes` below the stack pointer take no fault.
  ///
  /// The conditions are those of ``grow(at:runningOn:)``: thread code asks for it by an exception.
  ///
  /// - Parameters:
  ///   - bytes: how much; 0 is nothing.
  ///   - stackPointer: the running thread's.
  ///   - base: the base of its stack. One that is mapped whole, and may be none of this allocator's, has nothing to grow.
  /// - Throws: ``ThreadStackError/beyondStack(requestedBytes:availableBytes:)``,
  ///   ``ThreadStackError/foreignAddress(_:)`` if the stack pointer is not on the stack, or
  ///   ``ThreadStackError/reserveTooSmall(requestedBytes:reservedFrames:)``. Nothing has changed then.
  public func ensure(
    bytes: Int, below stackPointer: VirtualAddress, runningOn base: VirtualAddress
  ) throws(ThreadStackError) {
    let available = stackPointer - base
    let canGrow = control.pointee.isGrowing(base)
    guard available >= 0, available <= control.pointee.geometry.size || !canGrow else {
      throw .foreignAddress(stackPointer)
    }
    guard bytes >= 0, bytes <= available else {
      throw .beyondStack(requestedBytes: bytes, availableBytes: available)
    }
    guard bytes > 0 else { return }
    switch grow(at: stackPointer - bytes, runningOn: base) {
    // A stack of another kind is mapped to the end.
    case .grown, .notGrowth: return
    case .reserveTooSmall:
      let reserve = control.pointee.reserve(ofCPU: machine.currentCPU)
      throw .reserveTooSmall(requestedBytes: bytes, reservedFrames: reserve.pointee.count)
    }
  }
}

extension StackControl {
  /// Whether an address can be the base of a stack that grows.
  @inline(__always) func isGrowing(_ base: VirtualAddress) -> Bool {
    base.rawValue &- firstStack < growingByteCount
  }

  @inline(__always) func reserve(ofCPU cpu: Int) -> UnsafeMutablePointer<StackReserve> {
    (firstReserve + cpu &* cpuStride).assumingMemoryBound(to: StackReserve.self)
  }

  /// How many pages grew on a CPU, for each node.
  @inline(__always)
  func grownFrames(of reserve: UnsafeMutablePointer<StackReserve>) -> UnsafeMutablePointer<Int> {
    UnsafeMutableRawPointer(reserve.reservedFrames + layout.reserveLimit).assumingMemoryBound(to: Int.self)
  }
}
