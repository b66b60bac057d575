// Exceptions from EL0: system calls and faults. Handled at EL1t on the process's kernel stack, with interrupts on.
import CAArch64
import KernelAssembly
import KernelProcesses
import KernelStacks
import Scenarios
import SystemCallInterface
import UserPrograms

/// Handles a synchronous exception from EL0; its registers are in `frame`, at the top of the kernel stack.
@c func userException(_ frame: UnsafeMutablePointer<kernel_frame>, _ syndrome: UInt64, _ address: UInt) {
  let syndrome = ExceptionSyndrome(rawValue: syndrome)
  switch syndrome.exceptionClass {
  case .supervisorCall:
    systemCall(frame)
  case .userDataAbort:
    resolve(syndrome, address, syndrome.isWrite ? .write : .read)
  case .userInstructionAbort:
    resolve(syndrome, address, .execute)
  default:
    endProcess(status: 0, end: .illegalInstruction)
  }
}

private func resolve(_ syndrome: ExceptionSyndrome, _ address: UInt, _ access: UserAccess) {
  guard syndrome.isTranslationFault || syndrome.isPermissionFault else {
    endProcess(status: 0, end: .accessViolation)
  }
  let resolution = inAllocatorSection {
    KernelObjects.processes.pointee.handleUserFault(
      currentTask(), address: VirtualAddress(address), access: access)
  }
  switch resolution {
  case .resolved: return
  case .violation: endProcess(status: 0, end: .accessViolation)
  case .outOfMemory: endProcess(status: 0, end: .outOfMemory)
  }
}
