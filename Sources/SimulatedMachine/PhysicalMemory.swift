// Simulated physical memory: one host allocation per bank.

import KernelMachine

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The host memory behind the banks, accessed by physical address.
final class PhysicalMemory {
  struct Region {
    var start: UInt
    var end: UInt
    var host: UnsafeMutableRawPointer
  }

  /// A valid table descriptor that points outside all banks; no walker may reach it.
  static let garbageWord: UInt64 = 0x0000_a5a5_a5a5_a5a3

  private(set) var regions: [Region] = []

  deinit {
    for region in regions { munmap(region.host, Int(region.end - region.start)) }
  }

  func add(start: UInt, byteCount: Int, contents: InitialContents) throws(SimulationError) {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS
    guard let host = mmap(nil, byteCount, PROT_READ | PROT_WRITE, flags, -1, 0), host != MAP_FAILED else {
      throw .hostMemoryRefused(byteCount: byteCount)
    }
    if contents == .garbage {
      host.initializeMemory(as: UInt64.self, repeating: Self.garbageWord, count: 512)
      var filled = pageSize
      while filled < byteCount {
        let step = min(filled, byteCount - filled)
        memcpy(host + filled, host, step)
        filled += step
      }
    }
    regions.append(Region(start: start, end: start + UInt(byteCount), host: host))
  }

  /// The host address of a physical address; `nil` outside memory.
  func host(_ address: UInt) -> UnsafeMutableRawPointer? {
    for region in regions where address >= region.start && address < region.end {
      return region.host + Int(bitPattern: address &- region.start)
    }
    return nil
  }

  /// The physical address of a host address; `nil` if it is not simulated memory.
  func physical(_ host: UnsafeRawPointer) -> UInt? {
    for region in regions {
      let offset = UnsafeRawPointer(region.host).distance(to: host)
      if offset >= 0, offset < Int(region.end - region.start) { return region.start + UInt(offset) }
    }
    return nil
  }

  func contains(frame: UInt) -> Bool { host(frame << 12) != nil }

  /// The 64-bit word at an 8-byte aligned address, which lies in memory.
  subscript(word address: UInt) -> UInt64 {
    get { host(address)!.load(as: UInt64.self) }
    set { host(address)!.storeBytes(of: newValue, as: UInt64.self) }
  }
}
