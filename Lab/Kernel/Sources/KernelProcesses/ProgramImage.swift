// A program before it runs: the contents of the first process's address space.

import KernelStacks

/// A segment of a program: some pages of its address space.
public struct ProgramSegment {
  /// Its first address, a multiple of 4,096.
  public var address: VirtualAddress
  /// Its initial contents; the bytes up to `byteCount` beyond them are zero.
  public var contents: UnsafeRawBufferPointer
  /// Its length in bytes.
  public var byteCount: Int
  /// `userReadWrite`, `userReadOnly` or `userExecute`.
  public var permissions: PagePermissions

  /// Makes a segment.
  public init(
    address: VirtualAddress, contents: UnsafeRawBufferPointer, byteCount: Int, permissions: PagePermissions
  ) {
    self.address = address
    self.contents = contents
    self.byteCount = byteCount
    self.permissions = permissions
  }

  /// Its length in pages.
  public var pageCount: Int { (byteCount + pageSize - 1) / pageSize }
}

/// A program: up to 8 segments, an entry point and a stack.
///
/// Code, data and stack should lie within one 2 MiB: then the address space needs one table per level only.
public struct ProgramImage {
  private var segments: InlineArray<8, ProgramSegment>
  /// The number of segments.
  public private(set) var segmentCount = 0
  /// The address of its first instruction.
  public var entry: VirtualAddress
  /// The first address above its stack.
  public var stackTop: VirtualAddress
  /// The size of its stack in pages.
  public var stackPageCount: Int

  /// The most segments that an image can have.
  public static var segmentLimit: Int { 8 }

  /// Makes a program without segments.
  public init(entry: VirtualAddress, stackTop: VirtualAddress, stackPageCount: Int = 2) {
    self.entry = entry
    self.stackTop = stackTop
    self.stackPageCount = stackPageCount
    let none = ProgramSegment(
      address: VirtualAddress(0), contents: UnsafeRawBufferPointer(start: nil, count: 0), byteCount: 0,
      permissions: .userReadOnly)
    segments = InlineArray(repeating: none)
  }

  /// Adds a segment; returns whether there was room for it.
  public mutating func add(_ segment: ProgramSegment) -> Bool {
    guard segmentCount < Self.segmentLimit else { return false }
    segments[segmentCount] = segment
    segmentCount += 1
    return true
  }

  /// The segment with this number, from 0.
  public func segment(at index: Int) -> ProgramSegment { segments[index] }

  /// The lowest address of the stack.
  public var stackBase: VirtualAddress { stackTop - stackPageCount * pageSize }
}
