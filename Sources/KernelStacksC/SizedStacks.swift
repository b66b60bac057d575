// ks_sized_stacks_make and the calls on stacks of several sizes: one handle over an allocator for each size.
//
//     sizes        8 KiB        16 KiB        64 KiB        each has slots, magazines and a depot of its own
//     request      ---- 12 KiB --^                          the smallest that is large enough
//     free         the allocator among whose slots the address lies
#if hasFeature(Embedded)
  import KernelMachine
  import KernelStacksCHeader
  import KernelThreadStacks

  typealias CSizedStacks = UnsafePointer<ks_sized_stacks>?

  @c @implementation func ks_sized_stacks_make(
    _ handle: UnsafeMutablePointer<ks_sized_stacks>!, _ configurations: UnsafePointer<ks_stack_configuration>!,
    _ count: Int, _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    do throws(CInterfaceError) {
      guard let handle else { throw .nullArgument("the pointer to the stacks") }
      guard let configurations else { throw .nullArgument("the configuration") }
      guard handle.pointee.count == 0 else { throw .stacksMade }
      guard count >= 1, count <= Int(KS_MOST_SIZES) else { throw .sizeCount(count) }
      var largest: UInt32 = 0
      for index in 0..<count {
        guard configurations[index].strategy != KS_LINEAR else {
          throw .unknownStrategy(UInt(KS_LINEAR.rawValue))
        }
        guard configurations[index].size > largest else { throw .sizeOrder(Int(configurations[index].size)) }
        largest = configurations[index].size
      }
    } catch let interfaceError { return report(interfaceError, to: error) }
    while Int(handle.pointee.count) < count {
      let made = Int(handle.pointee.count)
      let code = ks_stacks_make(allocators(handle) + made, configurations + made, error)
      guard code == KS_OK else {
        while handle.pointee.count > 0 {
          handle.pointee.count &-= 1
          end(allocators(handle) + Int(handle.pointee.count))
        }
        return code
      }
      handle.pointee.count &+= 1
    }
    return KS_OK
  }

  /// Ends an allocator that has no stacks, once no other CPU looks at it.
  @inline(never) private func end(_ handle: UnsafeMutablePointer<ks_stacks>) {
    while ks_stacks_end(handle, nil) == KS_IN_USE { CMachine().relax() }
  }

  @c @implementation func ks_sized_stacks_end(
    _ handle: UnsafeMutablePointer<ks_sized_stacks>!, _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    freeLeftStack()
    guard let handle, handle.pointee.count > 0 else { return report(CInterfaceError.stacksNotMade, to: error) }
    // All or none.
    for index in 0..<Int(handle.pointee.count) {
      let live = allocator(allocators(handle) + index)?.pointee.liveStackCount ?? 0
      if live > 0 { return report(CInterfaceError.stacksInUse(live), to: error) }
    }
    for index in 0..<Int(handle.pointee.count) { end(allocators(handle) + index) }
    handle.pointee.count = 0
    return KS_OK
  }

  @c @implementation func ks_sized_stack_allocate(
    _ handle: CSizedStacks, _ size: Int, _ node: Int32, _ error: UnsafeMutablePointer<ks_error>!
  ) -> UnsafeMutableRawPointer! {
    guard let stacks = smallest(of: handle, holding: size) else { return refuseSize(size, handle, error) }
    return ks_stack_allocate(stacks, node, error)
  }

  /// The allocator of the smallest stacks that are large enough.
  @inline(__always) private func smallest(of handle: CSizedStacks, holding size: Int) -> CStacksHandle {
    guard let handle, size > 0 else { return nil }
    for index in 0..<Int(handle.pointee.count) {
      let stacks = UnsafePointer(allocators(handle) + index)
      if let geometry = allocator(stacks)?.pointee.geometry, geometry.size >= size { return stacks }
    }
    return nil
  }

  @inline(never) private func refuseSize(
    _ size: Int, _ handle: CSizedStacks, _ error: UnsafeMutablePointer<ks_error>?
  ) -> UnsafeMutableRawPointer? {
    guard let handle, handle.pointee.count > 0 else { return refuseStack(.stacksNotMade, error) }
    return refuseStack(.stackSize(size, largest: largest(handle)), error)
  }

  @c @implementation func ks_sized_stack_free(
    _ handle: CSizedStacks, _ base: UnsafeMutableRawPointer!, _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    let found = ks_sized_stack_owner(handle, UInt(bitPattern: base))
    guard let handle, handle.pointee.count > 0 else {
      return reportMisuse(CInterfaceError.stacksNotMade, to: error)
    }
    guard let found else { return reportMisuse(CInterfaceError.notAStack(UInt(bitPattern: base)), to: error) }
    return ks_stack_free(found, base, error)
  }

  @c @implementation func ks_sized_stack_owner(_ handle: CSizedStacks, _ address: UInt) -> CStacksHandle {
    guard let handle else { return nil }
    for index in 0..<Int(handle.pointee.count) {
      let stacks = UnsafePointer(allocators(handle) + index)
      if let slots = allocator(stacks)?.pointee.slotAddresses, slots.contains(VirtualAddress(address)) {
        return stacks
      }
    }
    return nil
  }

  private func largest(_ handle: UnsafePointer<ks_sized_stacks>) -> Int {
    allocator(allocators(handle) + Int(handle.pointee.count &- 1))?.pointee.geometry.size ?? 0
  }

  /// The allocators of a handle: its array, which C has as a pointer.
  private func allocators(_ handle: UnsafePointer<ks_sized_stacks>) -> UnsafeMutablePointer<ks_stacks> {
    UnsafeMutableRawPointer(mutating: handle).assumingMemoryBound(to: ks_stacks.self)
  }
#endif
