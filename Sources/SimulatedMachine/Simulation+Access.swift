// Loads, stores and fetches at virtual addresses, through the MMU of a CPU.

import KernelMachine

extension Simulation {
  func load<Value: BitwiseCopyable>(
    _ address: VirtualAddress, as type: Value.Type, privilege: Privilege
  ) throws(SimulatedFault) -> Value {
    step()
    let host = try access(address, MemoryLayout<Value>.size, .read, privilege)
    let value = host.loadUnaligned(as: type)
    record(.load, UInt64(address.rawValue), digest(host, MemoryLayout<Value>.size))
    return value
  }

  func store<Value: BitwiseCopyable>(
    _ value: Value, to address: VirtualAddress, privilege: Privilege
  ) throws(SimulatedFault) {
    step()
    let host = try access(address, MemoryLayout<Value>.size, .write, privilege)
    host.storeBytes(of: value, as: Value.self)
    record(.store, UInt64(address.rawValue), digest(host, MemoryLayout<Value>.size))
  }

  func fetch(_ address: VirtualAddress, privilege: Privilege) throws(SimulatedFault) {
    step()
    _ = try access(address, 4, .execute, privilege)
    record(.fetch, UInt64(address.rawValue))
  }

  private func access(
    _ address: VirtualAddress, _ byteCount: Int, _ access: MemoryAccess, _ privilege: Privilege
  ) throws(SimulatedFault) -> UnsafeMutableRawPointer {
    do throws(SimulatedFault) {
      if Int(address.rawValue & 0xfff) + byteCount > pageSize {
        throw SimulatedFault(
          kind: .alignment, address: address, level: 3, access: access, privilege: privilege)
      }
      let physical = try translate(address.rawValue, access, privilege)
      guard let host = memory.host(physical) else {
        throw SimulatedFault(kind: .external, address: address, level: 3, access: access, privilege: privilege)
      }
      return host
    } catch {
      record(.fault, UInt64(address.rawValue), UInt64(error.kind.rawValue))
      throw error
    }
  }

  private func digest(_ host: UnsafeRawPointer, _ byteCount: Int) -> UInt64 {
    var hash = TraceHash()
    for byte in UnsafeRawBufferPointer(start: host, count: byteCount) { hash.mix(UInt64(byte)) }
    return hash.value
  }

  /// Translates an address for the current CPU; reports the use of a translation that is, or could be, stale.
  func translate(
    _ address: UInt, _ access: MemoryAccess, _ privilege: Privilege
  ) throws(SimulatedFault) -> UInt {
    if privilege == .kernel, access != .execute, split.isLinear(address),
      translations.isDirectlyMapped(address)
    {
      return address &- split.linearBase
    }
    let space: UInt16? =
      split.isKernel(address) ? 0 : split.isUser(address) ? cpus[running].userSpace : nil
    guard let space else {
      throw SimulatedFault(
        kind: .translation, address: VirtualAddress(address), level: split.rootLevel, access: access,
        privilege: privilege)
    }
    let request = TranslationRequest(
      address: address, space: space, access: access, privilege: privilege, cpu: running,
      asid: cpus[running].userSpace ?? 0)
    let outcome = translations.translate(request, seed: configuration.seed, random: &random)
    collectFindings()
    switch outcome {
    case .address(let physical):
      return physical
    case .fault(let kind, let level):
      throw SimulatedFault(
        kind: kind, address: VirtualAddress(address), level: level, access: access, privilege: privilege)
    }
  }
}
