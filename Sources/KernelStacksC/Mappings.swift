// ks_map, ks_unmap, ks_physical_address: mappings of given memory, outside the vmalloc area.
//
// All are made under one lock. They share no table with the vmalloc area, which has a lock of its own: a root entry belongs
// to the vmalloc area, to these functions, or to the kernel, whose entries this library does not touch.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelPageFrames
  import KernelStacksCHeader
  import KernelVirtualMemory

  private func lockMappings() -> InterruptState {
    InterruptState(rawValue: ks_machine_lock(ks_mapping_lock()))
  }

  private func unlockMappings(_ state: InterruptState) {
    ks_machine_unlock(ks_mapping_lock(), state.rawValue)
  }

  /// The pages of a range whose root entries are empty, or were filled by `ks_map`.
  ///
  /// Only a root entry that `ks_map` has filled counts the entries in use of the table that it names.
  private func mappableRange(
    _ address: UInt, _ size: Int, _ area: VirtualAddressRange
  ) throws(CInterfaceError) -> VirtualAddressRange {
    let lowest = UInt.max &<< UInt(bitPattern: CMachine().virtualAddressBits)
    guard size > 0, address & 4095 == 0, size & 4095 == 0 else {
      throw .unknownValue("range of whole pages of the size", UInt(bitPattern: size))
    }
    let last = address &+ UInt(bitPattern: size &- 1)
    guard address >= lowest, last >= address else { throw .unknownValue("kernel address", address) }
    var entry = address &>> rootEntryShift
    while entry <= last &>> rootEntryShift {
      let first = entry &<< rootEntryShift
      if entry >= area.lowerBound.rawValue &>> rootEntryShift,
        entry <= (area.upperBound.rawValue &- 1) &>> rootEntryShift
      {
        throw .mappingInVmalloc(first > address ? first : address)
      }
      let there = rootEntry(for: first)
      if there.isValid, !there.isTable || there.entryCount == 0 {
        throw .foreignTable(first > address ? first : address)
      }
      entry &+= 1
    }
    return VirtualAddressRange(VirtualAddress(address), byteCount: size)
  }

  @c @implementation func ks_map(
    _ address: UnsafeMutableRawPointer!, _ physical: UInt64, _ size: Int, _ permissions: ks_permissions,
    _ kind: ks_memory_kind, _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    let interrupts = lockMappings()
    defer { unlockMappings(interrupts) }
    do throws(CInterfaceError) {
      let range = try mappableRange(UInt(bitPattern: address), size, try CMemory.ownArea().pointee.range)
      let allowed: PagePermissions
      switch permissions {
      case KS_READ_WRITE: allowed = .kernelReadWrite
      case KS_READ_ONLY: allowed = .kernelReadOnly
      case KS_EXECUTE: allowed = .kernelExecute
      default: throw .unknownValue("permissions", UInt(permissions.rawValue))
      }
      guard kind == KS_NORMAL || kind == KS_DEVICE else { throw .unknownValue("kind", UInt(kind.rawValue)) }
      if kind == KS_DEVICE, ks_state().pointee.device_memory_index > 7 { throw .noDeviceMemory }
      guard physical < 1 &<< 48, UInt64(size) <= 1 &<< 48 &- physical else {
        throw .unknownValue("physical address", UInt(physical))
      }
      do throws(TranslationError) {
        try TranslationTables(kernelOf: CMachine()).mapBlocks(
          range, to: PhysicalAddress(UInt(physical)), allowed, kind: kind == KS_DEVICE ? .device : .normal,
          frames: CFramesWithoutWaiting())
        return KS_OK
      } catch let refusal { return report(refusal, to: error) }
    } catch let interfaceError { return report(interfaceError, to: error) }
  }

  @c @implementation func ks_unmap(
    _ address: UnsafeMutableRawPointer!, _ size: Int, _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    let interrupts = lockMappings()
    defer { unlockMappings(interrupts) }
    do throws(CInterfaceError) {
      let range = try mappableRange(UInt(bitPattern: address), size, try CMemory.ownArea().pointee.range)
      let count: Int
      do throws(TranslationError) {
        count = try TranslationTables(kernelOf: CMachine()).unmap(
          range, in: .kernel, to: CFramesWithoutWaiting()
        ) { _ in }
      } catch let refusal { return report(refusal, to: error) }
      guard count > 0 else { throw .notMapped(UInt(bitPattern: address)) }
      return KS_OK
    } catch let interfaceError { return reportMisuse(interfaceError, to: error) }
  }

  @c @implementation func ks_physical_address(_ address: UnsafeRawPointer!) -> UInt64 {
    guard let area = CMemory.area, let address else { return 0 }
    let virtual = VirtualAddress(UInt(bitPattern: address))
    if area.pointee.range.contains(virtual) {
      guard let frame = area.pointee.page(of: virtual) else { return 0 }
      return UInt64(frame.physicalAddress.rawValue | virtual.rawValue & 4095)
    }
    guard virtual.rawValue >= UInt.max &<< UInt(bitPattern: CMachine().virtualAddressBits) else { return 0 }
    let interrupts = lockMappings()
    defer { unlockMappings(interrupts) }
    guard let leaf = TranslationTables(kernelOf: CMachine()).translate(virtual) else { return 0 }
    return UInt64(leaf.physicalAddress(of: virtual).rawValue)
  }
#endif
