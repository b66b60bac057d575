// TLB invalidation by range, broadcast to all CPUs. Interrupts may be on or off.
#if hasFeature(Embedded)
  import CAArch64
  public import KernelMachine

  extension AArch64 {
    /// Publishes earlier stores (DSB ISHST), drops translations of a range on all CPUs (TLBI), and waits (DSB ISH; ISB).
    ///
    /// - Complexity: O(pages or tables), up to a bound above which one instruction drops the whole space (see
    ///   `InvalidationPlan`).
    public func invalidate(
      _ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope
    ) {
      let instructions = Self.dropTranslations(of: pages, in: space, scope: scope)
      // The thread may have moved: the CPU that runs it now counts.
      let state = ca_disable_interrupts()
      let cpu = ca_this_cpu()
      if space == .kernel {
        cpu.pointee.tlb_invalidations &+= 1
        cpu.pointee.tlb_instructions &+= UInt64(truncatingIfNeeded: instructions)
      } else {
        cpu.pointee.user_tlb_invalidations &+= 1
      }
      ca_restore_interrupts(state)
    }

    /// Does the work of ``invalidate(_:in:scope:)`` without counting, for machines that have counters of their own or none.
    ///
    /// - Returns: the number of TLB invalidation instructions.
    @inline(__always) public static func dropTranslations(
      of pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope
    ) -> Int {
      let plan = InvalidationPlan(pages, in: space, scope: scope)
      ca_dsb_ishst()
      switch plan.instruction {
      case .vmalle1is: ca_tlbi_vmalle1is()
      case .aside1is: ca_tlbi_aside1is(plan.operand)
      case .vae1is: forEachOperand(of: plan) { ca_tlbi_vae1is($0) }
      case .vale1is: forEachOperand(of: plan) { ca_tlbi_vale1is($0) }
      case .vaae1is: forEachOperand(of: plan) { ca_tlbi_vaae1is($0) }
      case .vaale1is: forEachOperand(of: plan) { ca_tlbi_vaale1is($0) }
      }
      ca_dsb_ish()
      ca_isb()
      return plan.instructionCount
    }

    @inline(__always)
    static func forEachOperand(of plan: InvalidationPlan, _ body: (UInt64) -> Void) {
      var operand = plan.operand
      let step = UInt64(truncatingIfNeeded: plan.operandStep)
      var left = plan.instructionCount
      while left != 0 {
        body(operand)
        operand &+= step
        left &-= 1
      }
    }
  }
#endif
