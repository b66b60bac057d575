// A machine of real threads: each is a CPU, and locks are spun on. For races that turns on a simulated machine cannot show.

import Foundation
import KernelMachine
import KernelPageFrames
import SeededRandom
import Synchronization

/// Real locks and CPU numbers; an allocator of frames does not use the rest.
struct HostMachine: Machine, Sendable {
  private static let seat: pthread_key_t = {
    var key = pthread_key_t()
    pthread_key_create(&key, nil)
    return key
  }()

  /// Makes the current thread a CPU.
  static func sit(on cpu: Int) { pthread_setspecific(seat, UnsafeRawPointer(bitPattern: cpu + 1)) }

  var currentCPU: Int { Int(bitPattern: pthread_getspecific(Self.seat)) - 1 }
  var currentNode: NodeID { NodeID(0) }
  var cpuCount: Int { 4 }
  var linearMapOffset: UInt { 0 }
  var virtualAddressBits: Int { 39 }
  // Frames stand for themselves: there is no memory behind them.
  func clear(_ address: VirtualAddress, byteCount: Int) {}
  func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer { fatalError("frames were touched") }
  func readEntry(at address: PhysicalAddress) -> PageTableEntry { .empty }
  func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {}
  func publishEntries() {}
  func completeAccesses() {}
  func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {}
  // A thread takes no interrupts.
  func disableInterrupts() -> InterruptState { InterruptState(rawValue: 0) }
  func restoreInterrupts(_ state: InterruptState) {}

  func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState {
    let word = UnsafeMutableRawPointer(lock).assumingMemoryBound(to: Atomic<UInt64>.self)
    while !word.pointee.weakCompareExchange(expected: 0, desired: 1, ordering: .acquiring).exchanged {
      sched_yield()
    }
    return InterruptState(rawValue: 0)
  }

  func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {
    UnsafeMutableRawPointer(lock).assumingMemoryBound(to: Atomic<UInt64>.self).pointee
      .store(0, ordering: .releasing)
  }
}

/// Runs `body` with the numbers below `count`, each on a thread of its own, and waits for all of them.
///
/// A thread pool that is busy may run them one after the other; then those that wait for each other never end.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  let group = DispatchGroup()
  for number in 0..<count {
    group.enter()
    Thread.detachNewThread {
      HostMachine.sit(on: number)
      body(number)
      group.leave()
    }
  }
  group.wait()
}

/// The owner of each frame, checked by one atomic step per change.
final class Owners: Sendable {
  private let first: UInt
  private nonisolated(unsafe) let words: UnsafeMutablePointer<Atomic<Int>>
  private let found = Atomic<Int>(0)

  init(first: UInt, count: Int) {
    self.first = first
    words = .allocate(capacity: count)
    for index in 0..<count { (words + index).initialize(to: Atomic(-1)) }
  }

  deinit { words.deallocate() }

  var problems: Int { found.load(ordering: .relaxed) }

  /// Records that a frame has changed hands; -1 is no owner.
  func change(_ frame: PageFrame, from old: Int, to new: Int) {
    let word = words + Int(frame.number - first)
    if word.pointee.exchange(new, ordering: .acquiringAndReleasing) != old { found.add(1, ordering: .relaxed) }
  }

  func noteProblem() { found.add(1, ordering: .relaxed) }
}

/// An allocator that several threads share.
final class HostFrames: Sendable {
  let allocator: BuddyAllocator<HostMachine>

  init(_ allocator: consuming BuddyAllocator<HostMachine>) { self.allocator = allocator }

  /// Random operations of one CPU, which frees all of its frames at the end.
  func work(_ cpu: Int, seed: UInt64, owners: Owners) {
    var random = SplitMix64(seed: seed &* 64 &+ UInt64(cpu))
    var mine: [PageFrame] = []
    func give(_ frame: PageFrame) {
      owners.change(frame, from: cpu, to: -1)
      do {
        try allocator.free(frame, order: 0)
      } catch { owners.noteProblem() }
    }
    for _ in 0..<20_000 {
      switch random.next(below: 16) {
      case 0..<6:
        let request = FrameRequest(purpose: .vmalloc, cleared: random.next(below: 2) == 0)
        if mine.count < 500, let frame = try? allocator.allocate(request) {
          owners.change(frame, from: -1, to: cpu)
          mine.append(frame)
        }
      case 6..<8 where mine.count < 500:
        try? allocator.allocate(FrameRequest(purpose: .vmalloc, cleared: true), count: 4) { frame in
          owners.change(frame, from: -1, to: cpu)
          mine.append(frame)
        }
      case 8..<14 where !mine.isEmpty:
        give(mine.remove(at: random.next(below: mine.count)))
      case 14:
        allocator.zeroOneFrame()
      case 15:
        switch random.next(below: 8) {
        case 0: allocator.drain()
        case 1: allocator.drain(cpu: random.next(below: 4))
        case 2:
          if let block = try? allocator.allocate(FrameRequest(order: 3, purpose: .other)) {
            for index in 0..<8 { owners.change(block + index, from: -1, to: cpu) }
            for index in 0..<8 { owners.change(block + index, from: cpu, to: -1) }
            do {
              try allocator.free(block, order: 3)
            } catch { owners.noteProblem() }
          }
        default: break
        }
      default: break
      }
    }
    for frame in mine { give(frame) }
  }
}
