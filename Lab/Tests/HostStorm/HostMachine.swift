// A machine whose CPUs are threads of the host that really run at the same time: for Thread Sanitizer, which sees each
// access of the core to memory that CPUs share.
//
//   physical memory   one block of the host's memory
//   page tables       in it, each entry an atomic word: stores release, loads acquire, as publication and the dependency of
//                     a walk on its tables order them on AArch64
//   TLB               none: each access walks the tables. The simulated machine is the strict one about translations.
//   interrupts        none: each thread is a CPU of its own
//   locks             a word, taken by compare-and-swap

import KernelStacks
import Synchronization

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// The key of a host thread's CPU number, plus 1.
private let cpuKey: pthread_key_t = {
  var key = pthread_key_t()
  pthread_key_create(&key, nil)
  return key
}()

/// A handle: all copies stand for the same memory.
struct HostMachine: PageTableMachine {
  static var memoryStart: UInt { 0x4000_0000 }

  private let memory: UnsafeMutableRawPointer
  /// All of its memory.
  var block: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(start: memory, count: byteCount) }
  /// Whether locks are not taken, which the sanitizer has to report.
  private let leavesLocksOut: Bool
  let byteCount: Int
  let cpuCount: Int
  let layout: AddressLayout

  /// Makes a machine whose first frame is the root of the kernel's tables.
  init(byteCount: Int, cpuCount: Int, leavesLocksOut: Bool) throws {
    memory = .allocate(byteCount: byteCount, alignment: 1 << 21)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
    self.byteCount = byteCount
    self.cpuCount = cpuCount
    self.leavesLocksOut = leavesLocksOut
    layout = try AddressLayout(virtualAddressBits: 39)
  }

  /// Frees the memory; no copy is used any more.
  func deallocate() { memory.deallocate() }

  /// Makes the current host thread a CPU.
  static func become(cpu: Int) { pthread_setspecific(cpuKey, UnsafeMutableRawPointer(bitPattern: cpu + 1)) }

  var linearMapOffset: UInt { layout.linearMapOffset }
  var virtualAddressBits: Int { layout.virtualAddressBits }
  var kernelRoot: PhysicalAddress { PhysicalAddress(Self.memoryStart) }
  var currentCPU: Int {
    UInt(bitPattern: pthread_getspecific(cpuKey)) == 0 ? 0 : Int(bitPattern: pthread_getspecific(cpuKey)) - 1
  }
  var currentNode: NodeID { NodeID(0) }

  func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer {
    precondition(address.rawValue &- Self.memoryStart < UInt(byteCount), "no memory is there")
    return memory + Int(address.rawValue &- Self.memoryStart)
  }

  /// A pointer to the memory that a kernel address is mapped to.
  func pointer(to address: VirtualAddress) -> UnsafeMutableRawPointer {
    if layout.linearMap.contains(address) {
      return pointer(to: PhysicalAddress(address.rawValue &- linearMapOffset))
    }
    guard let leaf = TranslationTables(kernelOf: self).translate(address) else {
      fatalError("no page at \(address)")
    }
    return pointer(to: leaf.physicalAddress(of: address))
  }

  func clear(_ address: VirtualAddress, byteCount: Int) {
    var offset = 0
    while offset < byteCount {
      memset(pointer(to: address + offset), 0, pageSize)
      offset += pageSize
    }
  }

  private func word(_ address: PhysicalAddress) -> UnsafeMutablePointer<Atomic<UInt64>> {
    pointer(to: address).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  func readEntry(at address: PhysicalAddress) -> PageTableEntry {
    PageTableEntry(rawValue: word(address).pointee.load(ordering: .acquiring))
  }

  func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {
    word(address).pointee.store(entry.rawValue, ordering: .releasing)
  }

  func publishEntries() {}

  func completeAccesses() { atomicMemoryFence(ordering: .sequentiallyConsistent) }

  func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {}

  func disableInterrupts() -> InterruptState { InterruptState(rawValue: 0) }

  func restoreInterrupts(_ state: InterruptState) {}

  func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState {
    if leavesLocksOut { return InterruptState(rawValue: 0) }
    let word = UnsafeMutableRawPointer(lock).assumingMemoryBound(to: Atomic<UInt64>.self)
    while !word.pointee.compareExchange(expected: 0, desired: 1, ordering: .acquiringAndReleasing).exchanged {
      sched_yield()
    }
    return InterruptState(rawValue: 0)
  }

  func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {
    if leavesLocksOut { return }
    UnsafeMutableRawPointer(lock).assumingMemoryBound(to: Atomic<UInt64>.self).pointee
      .store(0, ordering: .releasing)
  }
}
