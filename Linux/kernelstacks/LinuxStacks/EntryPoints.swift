// What Linux calls: made once, then a stack for each task, and its way back.

import KernelMachine
import KernelThreadStacks
import LinuxServices

typealias LinuxStacks = ThreadStackAllocator<LinuxMachine, LinuxFrames, LinuxArena>

/// How many bytes of static memory ``swift_stacks_init(_:_:_:_:_:)`` wants for the allocator's handle, aligned to 16.
@c func swift_stacks_handle_size() -> Int { MemoryLayout<LinuxStacks>.size }

/// Makes the allocator in the caller's static memory.
///
/// - Parameters:
///   - handle: zeroed memory of ``swift_stacks_handle_size()`` bytes that stays.
///   - grows: whether a stack begins with its top page; the kernel lends the others and lets the thread keep what it uses.
///   - size: the size of a stack in bytes.
///   - phase: what a slot lies above a multiple of the slot size.
///   - capacity: how many stacks there can be at a time.
/// - Returns: whether it was made.
@c func swift_stacks_init(
  _ handle: UnsafeMutableRawPointer, _ grows: Bool, _ size: Int, _ phase: Int, _ capacity: Int
) -> Bool {
  do {
    let stacks = try LinuxStacks(
      StackConfiguration(
        grows ? .growing : .vmalloc, size: size, phase: phase, capacity: capacity, keepsReserves: false),
      machine: LinuxMachine(), frames: LinuxFrames(), arena: LinuxArena())
    handle.assumingMemoryBound(to: LinuxStacks.self).initialize(to: stacks)
    return true
  } catch {
    return false
  }
}

/// Hands out a zeroed stack, or returns 0.
///
/// May sleep.
@c func swift_stacks_alloc(_ handle: UnsafeMutableRawPointer, _ node: Int32) -> UInt {
  let node: NodeID? = node < 0 ? nil : NodeID(Int(node))
  do {
    return try handle.assumingMemoryBound(to: LinuxStacks.self).pointee.allocate(node: node).detach().rawValue
  } catch {
    return 0
  }
}

/// Maps all pages of a stack on which no thread runs; says `false` when there are none for it.
///
/// May sleep.
@c func swift_stacks_populate(_ handle: UnsafeMutableRawPointer, _ address: UInt) -> Bool {
  let stacks = handle.assumingMemoryBound(to: LinuxStacks.self)
  do {
    let stack = try stacks.pointee.stack(at: VirtualAddress(address))
    let isWhole: Bool
    do {
      try stacks.pointee.populate(stack, bytes: stacks.pointee.geometry.size)
      isWhole = true
    } catch { isWhole = false }
    _ = stack.detach()
    return isWhole
  } catch {
    return false
  }
}

/// Takes a stack back; says `false` to an address that is not a stack in use.
///
/// Legal with interrupts off.
@c func swift_stacks_free(_ handle: UnsafeMutableRawPointer, _ address: UInt) -> Bool {
  let stacks = handle.assumingMemoryBound(to: LinuxStacks.self)
  do {
    stacks.pointee.free(try stacks.pointee.stack(at: VirtualAddress(address)))
    return true
  } catch {
    return false
  }
}

/// Takes a stack that was freed twice out of this CPU's cache for good; says whether it was there.
///
/// Legal with interrupts off.
@c func swift_stacks_quarantine(_ handle: UnsafeMutableRawPointer, _ address: UInt) -> Bool {
  handle.assumingMemoryBound(to: LinuxStacks.self).pointee.quarantine(at: VirtualAddress(address))
}

/// How many frames freed stacks hold, on all CPUs; where stacks grow, about that many: a cached one has one.
@c func swift_stacks_cached_frames(_ handle: UnsafeMutableRawPointer) -> Int {
  let stacks = handle.assumingMemoryBound(to: LinuxStacks.self)
  let pages = stacks.pointee.configuration.strategy == .growing ? 1 : stacks.pointee.geometry.pageCount
  return (stacks.pointee.cachedStackCount &+ stacks.pointee.retiredStackCount) &* pages
}

/// Gives back freed stacks, the depot's and this CPU's among them, until their frames reach `target`; asks the other CPUs
/// for theirs if that is not enough.
///
/// Returns frames given back.
@c func swift_stacks_reclaim(_ handle: UnsafeMutableRawPointer, _ target: Int) -> Int {
  handle.assumingMemoryBound(to: LinuxStacks.self).pointee.reclaim(target: target)
}

/// Gives back this CPU's freed stacks if another CPU has asked for them.
///
/// Returns frames given back. Legal with interrupts off.
@c func swift_stacks_serve(_ handle: UnsafeMutableRawPointer) -> Int {
  handle.assumingMemoryBound(to: LinuxStacks.self).pointee.serviceReclaimRequest()
}

/// Lets the demand for freed stacks age, and gives back a few that nobody has wanted; to be called once a second.
///
/// Returns frames given back.
@c func swift_stacks_age(_ handle: UnsafeMutableRawPointer) -> Int {
  handle.assumingMemoryBound(to: LinuxStacks.self).pointee.age()
}

/// Gives back the freed stacks that a CPU kept when it went offline.
///
/// Returns frames given back.
@c func swift_stacks_reclaim_stopped(_ handle: UnsafeMutableRawPointer, _ cpu: Int) -> Int {
  handle.assumingMemoryBound(to: LinuxStacks.self).pointee.reclaim(fromStoppedCPU: cpu)
}
