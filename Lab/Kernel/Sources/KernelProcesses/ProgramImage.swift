// A program before it runs: what the first process's address space is filled with.

import KernelStacks

/// A part of a program: some pages of its address space.
public struct ProgramSegment {
  /// Where it begins; a multiple of 4,096.
  public var address: VirtualAddress
  /// Its initial contents; what `byteCount` has beyond them is zero.
  public var contents: UnsafeRawBufferPointer
  /// Its length in bytes.
  public var byteCount: Int
  /// `userReadWrite`, `userReadOnly` or `userExecute`.
  public var permissions: PagePermissions

  /// A part of a program.
  public init(
    address: VirtualAddress, contents: UnsafeRawBufferPointer, byteCount: Int, permissions: PagePermissions
  ) {
    self.address = address
    self.contents = contents
    self.byteCount = byteCount
    self.permissions = permissions
  }

  /// How many pages it has.
  public var pageCount: Int { (byteCount + pageSize - 1) / pageSize }
}

/// A program: up to 8 segments, an entry point and a stack.
///
/// Code, data and stack should lie within one 2 MiB: then an address space needs as few tables as there are levels.
public struct ProgramImage {
  private var segments: InlineArray<8, ProgramSegment>
  /// How many segments there are.
  public private(set) var segmentCount = 0
  /// Where it starts.
  public var entry: VirtualAddress
  /// The first address above its stack.
  public var stackTop: VirtualAddress
  /// How many pages its stack has.
  public var stackPageCount: Int

  /// How many segments an image can have.
  public static var segmentLimit: Int { 8 }

  /// A program without segments.
  public init(entry: VirtualAddress, stackTop: VirtualAddress, stackPageCount: Int = 2) {
    self.entry = entry
    self.stackTop = stackTop
    self.stackPageCount = stackPageCount
    let none = ProgramSegment(
      address: VirtualAddress(0), contents: UnsafeRawBufferPointer(start: nil, count: 0), byteCount: 0,
      permissions: .userReadOnly)
    segments = InlineArray(repeating: none)
  }

  /// Adds a segment; tells whether there was room for it.
  public mutating func add(_ segment: ProgramSegment) -> Bool {
    guard segmentCount < Self.segmentLimit else { return false }
    segments[segmentCount] = segment
    segmentCount += 1
    return true
  }

  /// A segment, by number from 0.
  public func segment(at index: Int) -> ProgramSegment { segments[index] }

  /// The lowest address of the stack.
  public var stackBase: VirtualAddress { stackTop - stackPageCount * pageSize }
}
