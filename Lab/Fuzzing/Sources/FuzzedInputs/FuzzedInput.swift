// The inputs that come from outside, each with what must hold whatever they are.

import Synchronization

/// A kind of input.
public enum FuzzedInput: String, CaseIterable, Sendable {
  /// A flattened device tree, from a boot loader.
  case deviceTree = "device-tree"
  /// An ELF file for EL0, from a boot loader.
  case program
  /// The kernel's command line, from a boot loader.
  case commandLine = "command-line"
  /// System calls and memory accesses of processes.
  case systemCalls = "system-calls"
  /// A kernel's log, from whoever has one.
  case kernelLog = "kernel-log"

  private static let lock = Mutex<Void>(())

  /// Hands an input to the code that reads it; one at a time.
  ///
  /// - Parameter bytes: the input.
  /// - Returns: what should have held and did not; `nil` if all did. What traps there traps here, and a byte that is
  ///   read beyond the input is a fault.
  public func judge(_ bytes: UnsafeRawBufferPointer) -> Finding? {
    Self.lock.withLock { _ in
      let bytes = GuardedBytes.copy(bytes)
      do throws(Finding) {
        switch self {
        case .deviceTree: try judgeDeviceTree(bytes)
        case .program: try judgeProgram(bytes)
        case .commandLine: try judgeCommandLine(bytes)
        case .systemCalls: try judgeSystemCalls(bytes)
        case .kernelLog: try judgeKernelLog(bytes)
        }
        return nil
      } catch { return error }
    }
  }
}

/// A mistake that an input has shown.
public struct Finding: Error, CustomStringConvertible {
  /// What should have held.
  public let description: String
}

/// Throws a finding unless a condition holds.
@inline(__always)
func require(_ condition: Bool, _ promise: @autoclosure () -> String) throws(Finding) {
  if !condition { throw Finding(description: promise()) }
}
