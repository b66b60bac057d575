// The checks of a switch, at EL1h: the end marker of the old task's stack, where stacks have no guards, and the stack pointer
// of the new task.
import CAArch64
import KernelStacks

nonisolated(unsafe) private var markersExist = false

/// Whether stacks have end markers instead of guards.
var hasEndMarkers: Bool { markersExist }

/// Enables end markers and their checks.
///
/// Called before the first task is made.
func startEndMarkers() { markersExist = true }

/// Writes the end marker of a task's stack, if stacks have markers.
func placeEndMarker(_ record: borrowing Thread) {
  guard hasEndMarkers else { return }
  let marker = StackEndMarker(below: VirtualAddress(record.stackBase))
  if let words = marker.address.pointer { marker.place(at: words) }
}

/// Checks the old and the new task of a switch.
///
/// At EL1h. A task that ends is switched out like any other, so its stack is checked for the last time here.
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
