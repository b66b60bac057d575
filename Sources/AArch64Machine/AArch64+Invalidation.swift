// TLB invalidation by range, on all CPUs.
#if hasFeature(Embedded)
  import CAArch64
  public import KernelMachine

  extension AArch64 {
    /// Publishes earlier stores, then drops the translations of a range of pages on all CPUs, and waits for completion.
    ///
    /// Complexity: linear in the number of pages or tables, up to a bound above which the whole space is dropped by one
    /// instruction (see `InvalidationPlan`).
    @inlinable public func invalidate(
      _ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope
    ) {
      let instructions = Self.dropTranslations(of: pages, in: space, scope: scope)
      let cpu = ca_this_cpu()
      if space == .kernel {
        cpu.pointee.tlb_invalidations &+= 1
        cpu.pointee.tlb_instructions &+= UInt64(truncatingIfNeeded: instructions)
      } else {
        cpu.pointee.user_tlb_invalidations &+= 1
      }
    }

    /// What ``invalidate(_:in:scope:)`` does, for machines that count for themselves or not at all.
    ///
    /// - Returns: how many TLB invalidation instructions it took.
    @inlinable @inline(__always) public static func dropTranslations(
      of pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope
    ) -> Int {
      ca_dsb_ishst()
      let plan = InvalidationPlan(pages, scope: scope)
      if plan.dropsEverything {
        if space == .kernel {
          ca_tlbi_vmalle1is()
        } else {
          ca_tlbi_aside1is(space.invalidationOperand)
        }
      } else {
        var operand = space.invalidationOperand(of: plan.firstPage)
        let stride = UInt64(truncatingIfNeeded: plan.stride)
        var left = plan.instructionCount
        if scope == .leaves {
          while left != 0 {
            ca_tlbi_vale1is(operand)
            operand &+= 1
            left &-= 1
          }
        } else {
          while left != 0 {
            ca_tlbi_vae1is(operand)
            operand &+= stride
            left &-= 1
          }
        }
      }
      ca_dsb_ish()
      ca_isb()
      return plan.instructionCount
    }
  }
#endif
