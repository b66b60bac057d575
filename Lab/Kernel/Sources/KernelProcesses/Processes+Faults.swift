// Faults of processes, and the kernel's reads of user memory.

import KernelStacks

extension Processes {
  /// Handles an abort that a process took at EL0, or that would be taken on its behalf.
  ///
  /// A store to a page that is shared copy-on-write gives the process its own copy, or makes the page writable if no other
  /// process maps it any more. If there is no frame, caches are reclaimed and the fault is tried again.
  ///
  /// - Parameters:
  ///   - task: the process; its address space is in use on the current CPU only.
  ///   - address: the address of the access (FAR_EL1).
  ///   - access: the kind of access.
  /// - Returns: whether the access can be repeated; if not, the address space is unchanged.
  public borrowing func handleUserFault(
    _ task: TaskPointer, address: VirtualAddress, access: UserAccess
  ) -> FaultResolution {
    let first = withInterruptsOff { resolveFault(task, address, access) }
    guard case .outOfMemory(let error) = first else { return first }
    let second = reclaim() > 0 ? withInterruptsOff { resolveFault(task, address, access) } : first
    if case .outOfMemory = second { noteFailure(.copyOnWrite(error)) }
    return second
  }

  private borrowing func resolveFault(
    _ task: TaskPointer, _ address: VirtualAddress, _ access: UserAccess
  ) -> FaultResolution {
    guard task.pointee.addressSpaceRoot != PhysicalAddress(0), userAddresses.contains(address),
      let location = tables(of: task).existingLeafEntry(at: address)
    else { return .violation }
    let entry = machine.readEntry(at: location)
    guard entry.isValid, entry.isUserAccessible else { return .violation }
    let page = VirtualAddressRange(address.pageBase, byteCount: pageSize)
    switch access {
    case .execute where !entry.isUserExecutable:
      return .violation
    case .write where !entry.isWritable:
      guard entry.isCopyOnWrite else { return .violation }
      return breakSharing(entry, at: location, page, task)
    default:
      // The entry allows the access: an older translation was cached. Dropping it lets the access succeed.
      dropTranslations(page, of: task)
      return .resolved
    }
  }

  private borrowing func breakSharing(
    _ entry: PageTableEntry, at location: PhysicalAddress, _ page: VirtualAddressRange, _ task: TaskPointer
  ) -> FaultResolution {
    // The lock orders the others' reads of the page before this process's stores.
    if changeShareCount(entry.frame, by: 0) == 1 {
      // Granting access needs no invalidation to be correct, but this CPU has just used the read-only translation: without one,
      // the repeated store could fault on it again.
      let owned = PageTableEntry(rawValue: entry.writable.rawValue & ~PageTableEntry.copyOnWriteBit)
      machine.writeEntry(owned, at: location)
      dropTranslations(page, of: task)
      return .resolved
    }
    let copy: PageFrame
    do {
      copy = try frames.allocate(FrameRequest(purpose: .userMemory))
    } catch { return .outOfMemory(error) }
    machine.pointer(to: copy.physicalAddress)
      .copyMemory(from: machine.pointer(to: entry.frame.physicalAddress), byteCount: pageSize)
    // Break before make: no CPU may hold translations of one page to two frames.
    machine.writeEntry(entry.retired, at: location)
    dropTranslations(page, of: task)
    machine.writeEntry(.page(copy, .userReadWrite), at: location)
    machine.publishEntries()
    shareCount(copy).pointee = 1
    releaseUserFrame(entry.frame)
    return .resolved
  }

  // MARK: Copying from a process

  /// Copies bytes from a process's memory, through its tables and the linear map.
  ///
  /// - Returns: whether the process may read all of them; if not, the contents of `destination` are unspecified.
  public borrowing func copyFromUser(
    _ task: TaskPointer, _ address: VirtualAddress, to destination: UnsafeMutableRawBufferPointer
  ) -> Bool {
    var done = 0
    while done < destination.count {
      let here = address + done
      guard let source = userPointer(task, here) else { return false }
      let count = min(pageSize - Int(here.rawValue & 0xfff), destination.count - done)
      UnsafeMutableRawBufferPointer(rebasing: destination[done..<(done + count)])
        .copyMemory(from: UnsafeRawBufferPointer(start: source, count: count))
      done += count
    }
    return true
  }

  /// A pointer to the byte at `address`, or `nil` if the process may not read it.
  private borrowing func userPointer(_ task: TaskPointer, _ address: VirtualAddress) -> UnsafeMutableRawPointer?
  {
    guard task.pointee.addressSpaceRoot != PhysicalAddress(0), userAddresses.contains(address),
      let leaf = tables(of: task).translate(address), leaf.entry.isUserAccessible
    else { return nil }
    return machine.pointer(to: leaf.physicalAddress(of: address))
  }
}
