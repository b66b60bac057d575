// What is looked at when the CPU goes from one task to another: the end of the old one's stack, where it has no guard, and
// the stack pointer of the new one.
#if hasFeature(Embedded)
  import CAArch64
  import KernelStacks

  nonisolated(unsafe) private var markersExist = false

  /// Whether stacks have end markers instead of guards.
  var hasEndMarkers: Bool { markersExist }

  /// Lets the ends of stacks be checked.
  ///
  /// Before the first task is made.
  func startEndMarkers() { markersExist = true }

  /// Writes the end marker of a task's stack, if stacks have markers.
  func placeEndMarker(_ record: borrowing Thread) {
    guard hasEndMarkers else { return }
    let marker = StackEndMarker(below: VirtualAddress(record.stackBase))
    if let words = marker.address.pointer { marker.place(at: words) }
  }

  /// Checks both sides of a switch.
  ///
  /// At EL1h. A task that ends is switched out like any other, so its stack is looked at for the last time here.
  @inline(__always)
  func checkSwitch(from old: ThreadPointer, to new: ThreadPointer) {
    if hasEndMarkers { checkEnd(of: old) }
    if new.pointee.wasInKernel, !new.pointee.hasOwnStackPointer { _ = resolveStackPointer(new, .switchingIn) }
  }

  @inline(__always)
  private func checkEnd(of record: ThreadPointer) {
    let marker = StackEndMarker(below: VirtualAddress(record.pointee.stackBase))
    if let words = marker.address.pointer, !marker.isIntact(at: words) {
      _ = resolveOverflow(record, address: marker.address.rawValue, .switchingOut)
    }
  }
#endif
