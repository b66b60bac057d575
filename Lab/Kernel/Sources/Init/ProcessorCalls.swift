// System calls of a process at EL0: `svc #0` with the number in x8.
import CAArch64
import SystemCallInterface
import UserPrograms

/// The kernel that this process runs on.
struct ProcessorCalls: SystemCalls {
  @discardableResult
  private func call(_ number: SystemCallNumber, _ first: Int = 0, _ second: Int = 0) -> ca_results {
    ca_system_call(number.rawValue, UInt64(bitPattern: Int64(first)), UInt64(bitPattern: Int64(second)))
  }

  private func signed(_ value: UInt64) -> Int { Int(truncatingIfNeeded: value) }

  func write(_ text: StaticString) { call(.write, Int(bitPattern: text.utf8Start), text.utf8CodeUnitCount) }

  func processID() -> Int { signed(call(.processID).x0) }

  func fork<Child: ChildProgram>(_ child: Child) -> Int {
    let result = signed(call(.fork).x0)
    if result != 0 { return result }
    guard child.prove(on: self) else { exit(failedProof) }
    call(.hold)
    exit(child.finish(on: self))
  }

  func exit(_ status: Int) -> Never {
    call(.exit, status)
    while true {}
  }

  func awaitChild(_ processID: Int) -> ChildState {
    ChildState(rawValue: signed(call(.awaitChild, processID).x0)) ?? .none
  }

  @discardableResult func release(_ processID: Int) -> Int { signed(call(.release, processID).x0) }

  func wait() -> EndedChild? {
    let result = call(.wait)
    guard signed(result.x0) >= 0, let end = EndOfProcess(rawValue: UInt8(truncatingIfNeeded: result.x2))
    else {
      return nil
    }
    return EndedChild(processID: signed(result.x0), status: signed(result.x1), end: end)
  }

  func proveStack() -> Bool { call(.proveStack).x0 == 1 }

  func overflowStack() { call(.overflowStack) }

  func note(_ note: Note, _ value: Int) { call(.note, note.rawValue, value) }

  var threadPointer: UInt64 {
    get { ca_read_tpidr_el0() }
    nonmutating set { ca_write_tpidr_el0(newValue) }
  }

  func touchForbidden(_ index: Int) -> Bool { ca_touch_forbidden(UInt64(index)) != 0 }

  func load(_ address: UInt) -> UInt64 { ca_load(address) }

  func store(_ value: UInt64, at address: UInt) { ca_store(address, value) }

  // The address that init.ld gives it.
  var scratchPage: UInt { 0x48_0000 }

  // The kernel's image header.
  var kernelMemory: UInt { 0xffff_ff80_0008_0000 }
}
