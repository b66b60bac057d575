// ks_add_memory and ks_remove_memory: RAM that a kernel hands over later, and takes back.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelPageFrames
  import KernelStacksCHeader

  @c @implementation func ks_add_memory(
    _ start: UInt64, _ size: UInt64, _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    do throws(CInterfaceError) {
      let frames = try CMemory.ownFrames()
      // Frame 0 is never handed out, nor are the library's records.
      let records = UInt64(UInt(bitPattern: frames) &- CMachine().linearMapOffset)
      guard start != 0, start &+ size <= records || start >= records &+ ks_state().pointee.record_bytes else {
        return report(MemoryChangeError.notReserved(PhysicalAddress(UInt(start))), to: error)
      }
      if size != 0 {
        try checkMapped(UInt(start) & ~4095)
        try checkMapped(UInt(start &+ size &- 1) & ~4095)
      }
      do throws(MemoryChangeError) {
        try frames.pointee.addMemory(
          start: PhysicalAddress(UInt(start)), byteCount: Int(truncatingIfNeeded: size))
        return KS_OK
      } catch let refusal { return report(refusal, to: error) }
    } catch let interfaceError { return report(interfaceError, to: error) }
  }

  @c @implementation func ks_remove_memory(
    _ start: UInt64, _ size: UInt64, _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    do throws(CInterfaceError) {
      let frames = try CMemory.ownFrames()
      var hasReclaimed = false
      while true {
        do throws(MemoryChangeError) {
          try frames.pointee.removeMemory(
            start: PhysicalAddress(UInt(start)), byteCount: Int(truncatingIfNeeded: size))
          return KS_OK
        } catch let refusal {
          guard case .inUse = refusal, !hasReclaimed else { return report(refusal, to: error) }
        }
        // Freed stacks and areas may be what has the frames.
        hasReclaimed = true
        _ = ks_reclaim(-1)
        _ = ks_vmalloc_flush()
      }
    } catch let interfaceError { return report(interfaceError, to: error) }
  }
#endif
