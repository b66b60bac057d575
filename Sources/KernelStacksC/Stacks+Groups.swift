// ks_group_make and the other functions for groups of threads that share a limit on stack memory.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelStacksCHeader
  import KernelThreadStacks

  /// A limit from C: values above `Int.max` become `Int.max`.
  private func limit(_ frames: Int) -> Int { frames < 0 ? .max : frames }

  @c @implementation func ks_group_make(
    _ handle: CStacksHandle, _ limitFrames: Int, _ error: UnsafeMutablePointer<ks_error>!
  ) -> Int32 {
    guard let stacks = allocator(handle) else {
      _ = report(CInterfaceError.stacksNotMade, to: error)
      return -1
    }
    do throws(ThreadStackError) {
      return Int32(try stacks.pointee.makeGroup(limitFrames: limit(limitFrames)).index)
    } catch let refusal { _ = report(refusal, to: error) }
    return -1
  }

  @c @implementation func ks_group_set_limit(
    _ handle: CStacksHandle, _ group: Int32, _ limitFrames: Int, _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    guard let stacks = allocator(handle) else { return report(CInterfaceError.stacksNotMade, to: error) }
    do throws(ThreadStackError) {
      try stacks.pointee.setLimit(of: StackGroupID(Int(group)), toFrames: limit(limitFrames))
      return KS_OK
    } catch let refusal { return report(refusal, to: error) }
  }

  @c @implementation func ks_group_remove(
    _ handle: CStacksHandle, _ group: Int32, _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    guard let stacks = allocator(handle) else { return report(CInterfaceError.stacksNotMade, to: error) }
    do throws(ThreadStackError) {
      try stacks.pointee.removeGroup(StackGroupID(Int(group)))
      return KS_OK
    } catch let refusal { return report(refusal, to: error) }
  }

  @c @implementation func ks_group_figures_of(
    _ handle: CStacksHandle, _ group: Int32, _ result: UnsafeMutablePointer<ks_group_figures>!,
    _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    guard let stacks = allocator(handle) else { return report(CInterfaceError.stacksNotMade, to: error) }
    guard let result else {
      return report(CInterfaceError.nullArgument("the pointer to the figures"), to: error)
    }
    do throws(ThreadStackError) {
      let figures = try stacks.pointee.figures(of: StackGroupID(Int(group)))
      result.pointee.charged_frames = UInt64(bitPattern: Int64(figures.chargedFrames))
      result.pointee.limit_frames = UInt64(bitPattern: Int64(figures.limitFrames))
      result.pointee.refusals = UInt64(bitPattern: Int64(figures.refusals))
      return KS_OK
    } catch let refusal { return report(refusal, to: error) }
  }

  @c @implementation func ks_stack_allocate_for_group(
    _ handle: CStacksHandle, _ nodeNumber: Int32, _ group: Int32, _ error: UnsafeMutablePointer<ks_error>!
  ) -> UnsafeMutableRawPointer! {
    freeLeftStack()
    do throws(CInterfaceError) {
      guard let stacks = allocator(handle) else { throw .stacksNotMade }
      let node = try node(nodeNumber, count: CFrames().nodeCount)
      do throws(ThreadStackError) {
        return try stacks.pointee.allocate(node: node, chargedTo: StackGroupID(Int(group))).detach().pointer
      } catch let refusal { _ = report(refusal, to: error) }
    } catch let interfaceError { _ = report(interfaceError, to: error) }
    return nil
  }
#endif
