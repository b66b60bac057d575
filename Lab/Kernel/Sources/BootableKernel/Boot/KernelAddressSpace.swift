// The kernel's final translation tables.
//
//   kernel image   text: read, execute; rodata: read; the rest: read, write. 4 KiB pages. The guards are left out.
//   linear map     all RAM, never executable: blocks as large as they fit. The alias of text and rodata is read-only.
//   devices        at the linear map's offset, device memory, 4 KiB pages
//
// None of it changes after boot, so no block of the linear map is ever split.
import AArch64Machine
import CAArch64
import DeviceTree
import KernelAssembly
import KernelStacks

/// The kernel half of the address space while it is built.
struct KernelAddressSpace {
  let layout: AddressLayout
  let early: EarlyAddressSpace
  private let tables: TranslationTables<AArch64>

  /// Makes an empty kernel half.
  ///
  /// From here on, `machine.virtualAddressBits` is that of the layout.
  init(_ layout: AddressLayout, early: EarlyAddressSpace, frames: borrowing EarlyFrames)
    throws(TranslationError)
  {
    self.layout = layout
    self.early = early
    ca_machine().pointee.virtual_address_bits = UInt64(layout.virtualAddressBits)
    do {
      tables = try TranslationTables(userSpaceOf: AArch64(), frames: frames)
    } catch {
      throw .frames(error)
    }
  }

  /// The most frames that the tables can take.
  ///
  /// A range mapped by blocks needs tables of levels 2 and 3 at its two ends only, and one of level 1 for each 512 GiB.
  static func frameLimit(_ map: borrowing PhysicalMemoryMap) -> Int {
    // Each range of RAM, two more where text and rodata divide one, and four devices; the root and the image.
    8 + 6 * (map.memoryRangeCount + 2 + 4) + map.totalFrames >> 27 + kernelImagePages / 512
  }

  private static var kernelImagePages: Int { Int(kernel_image_end() - kernel_image_start()) >> 12 }

  /// Maps the image, part by part.
  func mapImage(frames: borrowing EarlyFrames) throws(TranslationError) {
    try map(kernel_image_start(), kernel_text_end(), .kernelExecute, frames)
    try map(kernel_text_end(), kernel_rodata_end(), .kernelReadOnly, frames)
    try map(kernel_rodata_end(), kernel_boot_stack_guard(), .kernelReadWrite, frames)
    try map(kernel_boot_stack(), kernel_emergency_stack_guard(), .kernelReadWrite, frames)
    try map(kernel_emergency_stack(), kernel_image_end(), .kernelReadWrite, frames)
  }

  private func map(
    _ start: UInt, _ end: UInt, _ permissions: PagePermissions, _ frames: borrowing EarlyFrames
  ) throws(TranslationError) {
    var address = start
    while address < end {
      let frame = PhysicalAddress(early.physical(address)).frame
      try tables.map(frame, at: VirtualAddress(address), permissions, frames: frames)
      address += 4096
    }
  }

  /// Maps a range of RAM into the linear map; text and rodata read-only.
  func mapLinear(_ range: MemoryRange, frames: borrowing EarlyFrames) throws(TranslationError) {
    let lower = range.firstFrame.physicalAddress.rawValue
    let upper = range.endFrame.physicalAddress.rawValue
    let readOnlyStart = min(max(early.physical(kernel_image_start()), lower), upper)
    let readOnlyEnd = min(max(early.physical(kernel_rodata_end()), lower), upper)
    try mapLinear(lower, readOnlyStart, .kernelReadWrite, .normal, frames)
    try mapLinear(readOnlyStart, readOnlyEnd, .kernelReadOnly, .normal, frames)
    try mapLinear(readOnlyEnd, upper, .kernelReadWrite, .normal, frames)
  }

  /// Maps the registers of all devices that the kernel drives.
  func mapDevices(of board: borrowing Board, frames: borrowing EarlyFrames) throws(TranslationError) {
    let devices = board.devices
    for index in 0..<devices.count where devices[index].byteCount > 0 {
      try mapDevice(devices[index], frames: frames)
    }
  }

  /// Maps the registers of a device.
  private func mapDevice(_ range: BoardRange, frames: borrowing EarlyFrames) throws(TranslationError) {
    let lower = range.start & ~4095
    let limit = UInt(layout.linearMap.byteCount)
    guard range.start < limit, range.byteCount > 0, range.byteCount <= limit - range.start else {
      throw .outsideSpace(VirtualAddress(lower &+ layout.linearMapOffset))
    }
    try mapLinear(lower, (range.start + range.byteCount - 1 | 4095) + 1, .kernelReadWrite, .device, frames)
  }

  private func mapLinear(
    _ lower: UInt, _ upper: UInt, _ permissions: PagePermissions, _ kind: MemoryKind,
    _ frames: borrowing EarlyFrames
  ) throws(TranslationError) {
    guard lower < upper else { return }
    let offset = layout.linearMapOffset
    guard upper <= UInt(layout.linearMap.byteCount) else {
      throw .outsideSpace(VirtualAddress(lower &+ offset))
    }
    let range = VirtualAddressRange(VirtualAddress(lower + offset), VirtualAddress(upper + offset))
    try tables.mapBlocks(range, to: PhysicalAddress(lower), permissions, kind: kind, frames: frames)
  }

  /// Switches to these tables and leaves the user half empty: no other tables can be reached after this.
  ///
  /// From here on, physical memory lies at the layout's offset, and nothing writable is executable, whatever its entry says
  /// (SCTLR_EL1.WXN).
  func enter() {
    let emptyRoot = early.emptyRoot
    let size = UInt64(64 - layout.virtualAddressBits)
    let sizes: UInt64 = 0x3f << 16 | 0x3f
    // Enables updates of access flags and dirty state where the CPU has them (TCR_EL1.HA, HD). The former find every flag
    // set but those of lent pages; the latter apply to entries with DBM set only.
    let updatesAccessFlags = Self.updatesAccessFlags
    let tracksDirtyPages = Self.keepsDirtyState
    let old = ca_read_tcr_el1() | (updatesAccessFlags ? 1 << 39 : 0) | (tracksDirtyPages ? 1 << 40 : 0)
    // The size of the lower half must not change while code runs there.
    switch_kernel_tables(
      UInt64(tables.root.rawValue), old & ~(0x3f << 16) | size << 16, UInt64(early.imageBase),
      UInt64(emptyRoot.rawValue))
    ca_write_ttbr0_el1(UInt64(emptyRoot.rawValue))
    ca_isb()
    ca_machine().pointee.linear_map_offset = UInt64(layout.linearMapOffset)
    ca_machine().pointee.kernel_root = UInt64(tables.root.rawValue)
    ca_write_sctlr_el1(ca_read_sctlr_el1() | 1 << 19)
    ca_isb()
    // Nothing of the identity map may be cached when the lower half changes its size.
    AArch64().invalidate(.everything, in: .kernel, scope: .tablesAndLeaves)
    ca_write_tcr_el1(old & ~sizes | size << 16 | size)
    ca_isb()
    ca_machine().pointee.tracks_dirty_pages = tracksDirtyPages ? 1 : 0
    ca_machine().pointee.updates_access_flags = updatesAccessFlags ? 1 : 0
    Scheduler.emptyUserRoot = emptyRoot.rawValue
  }

  /// Whether this CPU can set access flags in the translation tables.
  static var updatesAccessFlags: Bool {
    CPUIdentity.updatesAccessFlags(memoryFeatures: ca_read_id_aa64mmfr1_el1())
  }

  /// Whether this CPU can update dirty state in the translation tables, and no erratum forbids it.
  static var keepsDirtyState: Bool {
    CPUIdentity(rawValue: ca_read_midr_el1()).keepsDirtyState(memoryFeatures: ca_read_id_aa64mmfr1_el1())
  }
}
