// TLB invalidation by range, on all CPUs.
#if hasFeature(Embedded)
  import CAArch64
  public import KernelMachine

  extension AArch64 {
    /// Above this many pages the whole space goes, by one instruction; an estimate, in place of a measurement, of where
    /// naming each page costs more than refilling all that goes with them.
    @inlinable static var largestInvalidationByPage: Int { 512 }

    /// Publishes earlier stores, then drops the translations of a range of pages on all CPUs, and waits for completion.
    ///
    /// Complexity: linear in the number of pages, up to a bound above which the whole space is dropped by one instruction.
    @inlinable public func invalidate(
      _ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope
    ) {
      ca_dsb_ishst()
      // The count is taken unsigned: `everything` does not fit a signed distance.
      let count = (pages.upperBound.rawValue &- pages.lowerBound.rawValue) &>> 12
      let isKernel = space == .kernel
      var issued: UInt64 = 1
      if count > UInt(bitPattern: Self.largestInvalidationByPage) {
        if isKernel {
          ca_tlbi_vmalle1is()
        } else {
          ca_tlbi_aside1is(space.invalidationOperand)
        }
      } else {
        var operand = space.invalidationOperand(of: pages.lowerBound)
        issued = UInt64(count)
        var left = count
        if scope == .leaves {
          while left != 0 {
            ca_tlbi_vale1is(operand)
            operand &+= 1
            left &-= 1
          }
        } else {
          while left != 0 {
            ca_tlbi_vae1is(operand)
            operand &+= 1
            left &-= 1
          }
        }
      }
      ca_dsb_ish()
      ca_isb()
      if isKernel {
        let cpu = ca_this_cpu()
        cpu.pointee.tlb_invalidations &+= 1
        cpu.pointee.tlb_instructions &+= issued
      }
    }
  }
#endif
