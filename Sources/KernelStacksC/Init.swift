// ks_init and ks_check_cpu: the description is compared with registers and tables before it is used.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelMachine
  import KernelPageFrames
  import KernelStacksCHeader
  import KernelVirtualMemory

  @c @implementation func ks_init(
    _ configuration: UnsafePointer<ks_configuration>!, _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    do throws(CInterfaceError) {
      let configuration = try begin(configuration)
      let area = try vmallocRange(configuration)
      let map = emptyMap()
      do throws(PhysicalMemoryError) {
        try describeMemory(configuration, in: &map.pointee)
      } catch let memoryError { return report(memoryError, to: error) }
      try checkLinearMap(configuration, area)
      let place = try placeRecords(in: &map.pointee, cpuCount: Int(configuration.pointee.cpu_count))
      do throws(PhysicalMemoryError) {
        try makeMemory(map.pointee, records: place, cpuCount: Int(configuration.pointee.cpu_count))
      } catch let memoryError { return report(memoryError, to: error) }
      makeArea(area)
      return finish(configuration)
    } catch let interfaceError { return report(interfaceError, to: error) }
  }

  /// What is done first, whatever is the kernel's own: the machine is looked at and described.
  func begin(
    _ configuration: UnsafePointer<ks_configuration>?
  ) throws(CInterfaceError) -> UnsafePointer<ks_configuration> {
    guard let configuration else { throw .nullArgument("the configuration") }
    guard !CMemory.isInitialized else { throw .alreadyInitialized }
    try describeMachine(configuration)
    return configuration
  }

  /// What is done last: nothing can be refused any more.
  func finish(_ configuration: UnsafePointer<ks_configuration>) -> ks_code {
    ks_state().pointee.misuse = configuration.pointee.misuse
    ks_state().pointee.is_initialized = 1
    return KS_OK
  }

  @c @implementation func ks_check_cpu(_ error: UnsafeMutablePointer<ks_error>!) -> ks_code {
    guard CMemory.isInitialized else { return report(CInterfaceError.notInitialized, to: error) }
    let state = ks_state()
    do throws(CInterfaceError) {
      try checkCPUNumber(count: Int(truncatingIfNeeded: state.pointee.cpu_count))
      if state.pointee.lends_pages != 0 { try checkLending() }
      try checkTranslation()
      let difference = ca_read_tcr_el1() ^ state.pointee.translation_control
      if difference & reliedControl(updatesEntries: updatesEntries(state)) != 0 {
        throw .differentRegisters("TCR_EL1")
      }
      guard memoryAttribute(state.pointee.normal_memory_index) == 0xff, hasDeviceMemory(state) else {
        throw .differentRegisters("MAIR_EL1")
      }
      if rootInRegister != state.pointee.root_register { throw .differentRegisters("TTBR1_EL1") }
      return KS_OK
    } catch let interfaceError { return report(interfaceError, to: error) }
  }

  // MARK: The machine

  /// The table that TTBR1_EL1 names: bits 47:1, without ASID and CnP.
  private var rootInRegister: UInt64 { ca_read_ttbr1_el1() & 0x0000_ffff_ffff_fffe }

  private func checkCPUNumber(count: Int) throws(CInterfaceError) {
    let cpu = Int(ks_machine_cpu())
    guard cpu < count else { throw .cpuNumber(cpu, count: count) }
  }

  /// The bits of TCR_EL1 that the library relies on: T1SZ (21:16), EPD1 (23), IRGN1, ORGN1 and SH1 (29:24), TG1 (31:30),
  /// IPS (34:32), DS (59); and where CPUs update entries HA and HD (40:39).
  private func reliedControl(updatesEntries: Bool) -> UInt64 {
    0x0800_0007_ffbf_0000 | (updatesEntries ? 3 &<< 39 : 0)
  }

  private func updatesEntries(_ state: UnsafeMutablePointer<ks_state>) -> Bool {
    state.pointee.tracks_dirty_pages | state.pointee.lends_pages != 0
  }

  /// What MAIR_EL1 has at an index from 0 to 7.
  private func memoryAttribute(_ index: UInt64) -> UInt64 { ca_read_mair_el1() &>> (index &* 8) & 0xff }

  /// The lowest index at which MAIR_EL1 has an attribute; 8 if it has it nowhere.
  @inline(never) private func memoryIndex(_ attribute: UInt64) -> UInt64 {
    var index: UInt64 = 0
    while index < 8, memoryAttribute(index) != attribute { index &+= 1 }
    return index
  }

  /// Whether MAIR_EL1 has device memory where the first CPU has it, if that has any.
  private func hasDeviceMemory(_ state: UnsafeMutablePointer<ks_state>) -> Bool {
    let index = state.pointee.device_memory_index
    return index > 7 || memoryAttribute(index) == 0x04 || memoryAttribute(index) == 0x00
  }

  /// Of Device-nGnRE, or else of Device-nGnRnE, which orders more; 8 if MAIR_EL1 has neither.
  private var deviceIndex: UInt64 {
    let index = memoryIndex(0x04)
    return index < 8 ? index : memoryIndex(0x00)
  }

  /// Checks that this CPU translates as the library's entries and barriers presume.
  private func checkTranslation() throws(CInterfaceError) {
    let control = ca_read_tcr_el1()
    let system = ca_read_sctlr_el1()
    guard system & 1 != 0 else { throw .unfitRegister("SCTLR_EL1.M is 0: the MMU is off") }
    guard system &>> 2 & 1 != 0 else { throw .unfitRegister("SCTLR_EL1.C is 0: data is not cached") }
    guard system &>> 25 & 1 == 0 else { throw .unfitRegister("SCTLR_EL1.EE is 1: tables are big-endian") }
    guard control &>> 23 & 1 == 0 else {
      throw .unfitRegister("TCR_EL1.EPD1 is 1: kernel addresses are not translated")
    }
    guard control &>> 59 & 1 == 0 else { throw .unfitRegister("TCR_EL1.DS is 1: entries have another format") }
    // Write-back (1 or 3), inner or outer shareable (2 or 3): walks see what stores and a DSB have written.
    guard control &>> 24 & 1 != 0, control &>> 26 & 1 != 0, control &>> 29 & 1 != 0 else {
      throw .unfitRegister("TCR_EL1 has table walks that are not write-back and shareable")
    }
  }

  /// Reads the registers, and fills in the state that `CMachine` reads.
  private func describeMachine(_ configuration: UnsafePointer<ks_configuration>) throws(CInterfaceError) {
    let control = ca_read_tcr_el1()
    // TG1 (bits 31:30) = 2: 4 KiB. T1SZ (bits 21:16): the bits of an address that are not translated.
    guard control &>> 30 & 3 == 2 else { throw .granule(field: UInt(control &>> 30 & 3)) }
    let bits = 64 &- Int(control &>> 16 & 63)
    guard bits == 39 || bits == 48 else { throw .addressBits(bits) }
    try checkTranslation()
    let normalIndex = memoryIndex(0xff)
    guard normalIndex < 8 else { throw .noNormalMemory(UInt(ca_read_mair_el1())) }
    if configuration.pointee.tracks_dirty_pages, control &>> 39 & 3 != 3 { throw .noDirtyState }
    if configuration.pointee.lends_pages { try checkLending() }
    try checkCPUNumber(count: Int(configuration.pointee.cpu_count))
    let state = ks_state()
    state.pointee.linear_map_offset = configuration.pointee.linear_map_offset
    state.pointee.virtual_address_bits = UInt64(bits)
    state.pointee.root_register = rootInRegister
    state.pointee.kernel_root =
      configuration.pointee.kernel_root != 0 ? configuration.pointee.kernel_root : rootInRegister
    state.pointee.cpu_count = UInt64(configuration.pointee.cpu_count)
    state.pointee.tracks_dirty_pages = configuration.pointee.tracks_dirty_pages ? 1 : 0
    state.pointee.lends_pages = configuration.pointee.lends_pages ? 1 : 0
    state.pointee.translation_control = control
    state.pointee.normal_memory_index = normalIndex
    state.pointee.device_memory_index = deviceIndex
  }

  /// Checks that this CPU sets access flags, and may be raced by a compare-and-swap.
  ///
  /// The feature is taken from the ID register alone: a CPU on which it is broken says there that it does not have it.
  private func checkLending() throws(CInterfaceError) {
    let control = ca_read_tcr_el1()
    guard CPUIdentity.updatesAccessFlags(memoryFeatures: ca_read_id_aa64mmfr1_el1()) else {
      throw .cannotLend("this CPU does not set access flags (FEAT_HAFDBS)")
    }
    guard control &>> 39 & 1 == 1 else { throw .cannotLend("TCR_EL1.HA is not set") }
    guard ca_has_lse() != 0 else { throw .cannotLend("this CPU has no compare-and-swap (FEAT_LSE)") }
    // IRGN1 (25:24), ORGN1 (27:26), SH1 (29:28): updates are coherent with a compare-and-swap in such memory.
    guard control &>> 24 & 63 == 0b11_01_01 else {
      throw .cannotLend("TCR_EL1 has table walks that are not write-back, write-allocate, inner shareable")
    }
  }

  /// Checks that the linear map translates a store to a physical address.
  func checkMapped(_ physical: UInt) throws(CInterfaceError) {
    guard ks_translate_for_writing(physical &+ CMachine().linearMapOffset) == UInt64(physical) else {
      throw .notInLinearMap(physical)
    }
  }

  // MARK: The vmalloc area

  /// The bytes that one entry of the root table spans, as a shift: 1 GiB or 512 GiB.
  var rootEntryShift: UInt { CMachine().virtualAddressBits == 48 ? 39 : 30 }

  /// The root table's entry for an address.
  func rootEntry(for address: UInt) -> PageTableEntry {
    CMachine().readEntry(
      at: CMachine().kernelRoot + Int(bitPattern: (address &>> rootEntryShift) & 511 &* 8))
  }

  /// The configured range, or one outside the kernel image and linear map of the usual layouts; its root entries must be
  /// empty.
  func vmallocRange(
    _ configuration: UnsafePointer<ks_configuration>
  ) throws(CInterfaceError) -> Range<UInt> {
    try checkMapped(UInt(ks_state().pointee.kernel_root))
    var start = UInt(configuration.pointee.vmalloc_start)
    var end = UInt(configuration.pointee.vmalloc_end)
    let lowest = UInt.max &<< UInt(bitPattern: CMachine().virtualAddressBits)
    if start == 0, end == 0 {
      let is48 = CMachine().virtualAddressBits == 48
      start = is48 ? 0xffff_0080_0000_0000 : 0xffff_ff80_4000_0000
      end = is48 ? 0xffff_7c00_0000_0000 : 0xffff_ffbc_0000_0000
    }
    // The smallest area of stacks, with its guard.
    guard start >= lowest, start < end, end &- start >= 8 &<< 20 else { throw .vmallocRange(start, end) }
    var address = start
    while true {
      if rootEntry(for: address).rawValue & 1 != 0 { throw .vmallocEntry(address) }
      let next = (address | (1 &<< rootEntryShift &- 1)) &+ 1
      if next == 0 || next >= end { break }
      address = next
    }
    return start..<end
  }

  // MARK: Physical memory

  /// A map of physical memory in static memory, since a boot stack may be too small for it.
  ///
  /// Why this use of memory is sound: (1) the map fits, by the check; (2) no other CPU runs `ks_init`, by its contract.
  private func emptyMap() -> UnsafeMutablePointer<PhysicalMemoryMap> {
    precondition(PhysicalMemoryMap.byteCount <= Int(KS_MEMORY_MAP_BYTES))
    return PhysicalMemoryMap.makeEmpty(in: ks_memory_map())
  }

  private func describeMemory(
    _ configuration: UnsafePointer<ks_configuration>, in map: inout PhysicalMemoryMap
  ) throws(PhysicalMemoryError) {
    if let memory = configuration.pointee.memory {
      for index in 0..<configuration.pointee.memory_count {
        try map.addMemory(
          start: PhysicalAddress(UInt(memory[index].start)), byteCount: bounded(memory[index].size),
          node: NodeID(Int(memory[index].node)))
      }
    }
    // 0 stands for "none".
    try map.reserve(start: PhysicalAddress(0), byteCount: pageSize)
    if let reserved = configuration.pointee.reserved {
      for index in 0..<configuration.pointee.reserved_count where reserved[index].size != 0 {
        try map.reserve(
          start: PhysicalAddress(UInt(reserved[index].start)), byteCount: bounded(reserved[index].size))
      }
    }
  }

  private func bounded(_ size: UInt64) -> Int { size > UInt64(Int.max) ? Int.max : Int(size) }

  /// Checks the first and the last frame of each range of RAM, unless they are reserved, and the vmalloc area's place.
  private func checkLinearMap(
    _ configuration: UnsafePointer<ks_configuration>, _ area: Range<UInt>
  ) throws(CInterfaceError) {
    guard let memory = configuration.pointee.memory else { return }
    for index in 0..<configuration.pointee.memory_count {
      let first = (UInt(memory[index].start) &+ 4095) & ~4095
      let last = (UInt(memory[index].start &+ memory[index].size) & ~4095) &- 4096
      if !isReserved(first, configuration) { try checkMapped(first) }
      if !isReserved(last, configuration) { try checkMapped(last) }
      let offset = CMachine().linearMapOffset
      if first &+ offset < area.upperBound, last &+ offset >= area.lowerBound {
        throw .linearMapInVmalloc(first &+ offset)
      }
    }
  }

  private func isReserved(_ address: UInt, _ configuration: UnsafePointer<ks_configuration>) -> Bool {
    if address == 0 { return true }
    guard let reserved = configuration.pointee.reserved else { return false }
    for index in 0..<configuration.pointee.reserved_count {
      let range = reserved[index]
      if UInt64(address) &- range.start < range.size || range.start &- UInt64(address) < 4096 { return true }
    }
    return false
  }

  /// The bytes before the records: the buddy allocator's handle, and the CPUs' records; whole frames.
  private func ownByteCount(cpuCount: Int) -> Int {
    (MemoryLayout<BuddyAllocator<CMachine>>.stride &+ cpuCount &* MemoryLayout<ks_cpu_record>.stride &+ 4095)
      & ~4095
  }

  /// Finds room for the records, and for what comes before them.
  private func placeRecords(
    in map: inout PhysicalMemoryMap, cpuCount: Int
  ) throws(CInterfaceError) -> Range<UInt> {
    let records = BuddyAllocator<CMachine>.metadataByteCount(for: map, cpuCount: cpuCount)
    let bytes = ownByteCount(cpuCount: cpuCount) &+ (records &+ 4095) & ~4095
    guard let place = map.lowestUnreserved(byteCount: bytes) else { throw .noRoomForRecords(bytes) }
    do { try map.reserve(start: place, byteCount: bytes) } catch { throw .noRoomForRecords(bytes) }
    try checkMapped(place.rawValue)
    return place.rawValue..<place.rawValue &+ UInt(bitPattern: bytes)
  }

  /// Makes the buddy allocator.
  ///
  /// Why this use of memory is sound: (1) the range is RAM without another owner, by the map, and is mapped, by the check;
  /// (2) the parts do not overlap; (3) they are never freed.
  private func makeMemory(
    _ map: borrowing PhysicalMemoryMap, records: Range<UInt>, cpuCount: Int
  ) throws(PhysicalMemoryError) {
    let start = CMachine().pointer(to: PhysicalAddress(records.lowerBound))
    let own = ownByteCount(cpuCount: cpuCount)
    let frames = try BuddyAllocator(
      frames: map,
      metadata: UnsafeMutableRawBufferPointer(start: start + own, count: records.count &- own),
      machine: CMachine(), cpuCount: cpuCount)
    ks_state().pointee.frames = .ownFrames(nodeCount: frames.nodeCount)
    start.bindMemory(to: BuddyAllocator<CMachine>.self, capacity: 1).initialize(to: frames)
    ks_state().pointee.buddy = start
    ks_state().pointee.record_bytes = UInt64(records.count)
    useCPURecords(start + MemoryLayout<BuddyAllocator<CMachine>>.stride, count: cpuCount)
  }

  /// Makes the CPUs' records, which have the stacks that CPUs are about to leave.
  func useCPURecords(_ memory: UnsafeMutableRawPointer, count: Int) {
    let leaving = memory.bindMemory(to: ks_leaving.self, capacity: count)
    leaving.initialize(repeating: ks_leaving(), count: count)
    ks_state().pointee.leaving = leaving
  }
#endif
