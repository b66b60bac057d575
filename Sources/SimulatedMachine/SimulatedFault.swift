// The fault of a simulated access, with the facts that ESR_EL1 and FAR_EL1 would report.

import KernelMachine

/// The kind of an access.
public enum MemoryAccess: UInt8, Equatable, Sendable {
  /// Load.
  case read
  /// Store.
  case write
  /// Instruction fetch.
  case execute
}

/// The exception level of an access.
public enum Privilege: UInt8, Equatable, Sendable {
  /// EL0.
  case user
  /// EL1.
  case kernel
}

/// A synchronous abort.
public struct SimulatedFault: Error, Equatable, Sendable, CustomStringConvertible {
  /// The reasons of a fault.
  public enum Kind: UInt8, Equatable, Sendable {
    /// No valid entry.
    case translation
    /// A valid leaf entry that forbids the access.
    case permission
    /// A valid leaf entry whose access flag is clear.
    case accessFlag
    /// The access crosses a page boundary, which the simulation does not split.
    case alignment
    /// The translated address is not memory.
    case external
  }

  /// Makes a fault, for comparison in a test.
  public init(
    kind: Kind, address: VirtualAddress, level: Int, access: MemoryAccess, privilege: Privilege = .kernel
  ) {
    self.kind = kind
    self.address = address
    self.level = level
    self.access = access
    self.privilege = privilege
  }

  /// Its reason.
  public var kind: Kind
  /// The address of the access.
  public var address: VirtualAddress
  /// The level of the entry at fault, 0…3.
  public var level: Int
  /// The kind of the access.
  public var access: MemoryAccess
  /// The exception level of the access.
  public var privilege: Privilege

  /// Whether the access was a store.
  public var isWrite: Bool { access == .write }

  /// The fault in one line.
  public var description: String {
    "\(kind) fault, level \(level), on \(access) of \(hex(address)) by the \(privilege)"
  }
}
