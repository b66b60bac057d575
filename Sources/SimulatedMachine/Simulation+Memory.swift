// Host pointers, and the clearing of memory.

import KernelMachine

extension Simulation {
  func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer {
    step()
    record(.pointer, UInt64(address.rawValue))
    guard let host = memory.host(address.rawValue) else {
      let broken = allViolations.isEmpty ? "no rule broken before" : "\(allViolations[0])"
      fatalError("pointer(to:): \(hex(address)) is not memory; seed \(configuration.seed), \(broken)")
    }
    return host
  }

  func clear(_ address: VirtualAddress, byteCount: Int) {
    step()
    record(.clear, UInt64(address.rawValue), UInt64(byteCount))
    guard address.rawValue % UInt(pageSize) == 0, byteCount >= 0, byteCount % pageSize == 0 else {
      report(.invalidArgument, "clear of \(byteCount) bytes is not of whole pages", address: address.rawValue)
      return
    }
    var page = address.rawValue
    for _ in 0..<byteCount >> pageShift {
      clearPage(page)
      page &+= UInt(pageSize)
    }
  }

  private func clearPage(_ page: UInt) {
    let physical: UInt
    if split.isLinear(page) {
      physical = page &- split.linearBase
    } else {
      do throws(SimulatedFault) {
        physical = try translate(page, .write, .kernel)
      } catch {
        report(.invalidArgument, "clear of a page that is not mapped writable: \(error)", address: page)
        return
      }
    }
    guard let host = memory.host(physical) else {
      report(.invalidArgument, "clear of what is not memory", address: page, oldFrame: physical >> 12)
      return
    }
    endExclusiveAccesses(to: physical..<physical + UInt(pageSize))
    translations.willClear(frame: physical >> 12, by: running)
    collectFindings()
    host.initializeMemory(as: UInt8.self, repeating: 0, count: pageSize)
  }
}
