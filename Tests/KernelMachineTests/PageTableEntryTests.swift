// The bits of a translation-table entry, against values worked out from the architecture manual by hand.

import KernelMachine
import Testing

struct PageTableEntryTests {
  let frame = PageFrame(0x4_1234)

  @Test func aKernelPageHasAccessFlagInnerShareableAndNeverExecutes() {
    let entry = PageTableEntry.page(frame, .kernelReadWrite)
    // UXN | PXN | output address | AF | SH = inner | AP = EL1 read-write | attribute 0 | page | valid
    #expect(entry.rawValue == 0x0060_0000_4123_4703)
    #expect(entry.isValid && entry.isWritable)
    #expect(!entry.isUserAccessible && !entry.isKernelExecutable && !entry.isUserExecutable)
  }

  // AP[1] (bit 6) opens a page to EL0, AP[2] (bit 7) forbids stores, nG is bit 11, PXN bit 53, UXN bit 54.
  @Test(
    arguments: [
      (.kernelReadWrite, 0x0060_0000_0000_0000), (.kernelReadOnly, 0x0060_0000_0000_0080),
      (.kernelExecute, 0x0040_0000_0000_0080), (.userReadWrite, 0x0060_0000_0000_0840),
      (.userReadOnly, 0x0060_0000_0000_08c0), (.userExecute, 0x0020_0000_0000_08c0),
    ] as [(PagePermissions, UInt64)])
  func everyPermissionHasExactlyItsBits(permissions: PagePermissions, bits: UInt64) {
    #expect(PageTableEntry.page(frame, permissions).rawValue == bits | 0x4123_4703)
    #expect(PageTableEntry.block(PageFrame(0x4_0000), permissions).rawValue == bits | 0x4000_0701)
  }

  // DBM is bit 51; with it, AP[2] set means "not written yet".
  @Test func aWritableCleanEntryBecomesDirtyByClearingOneBit() {
    let entry = PageTableEntry.page(frame, .kernelReadWrite)
    #expect(entry.isDirty)
    #expect(entry.writableClean.rawValue == 0x0068_0000_4123_4783)
    #expect(!entry.writableClean.isDirty && !entry.writableClean.isWritable)
    #expect(entry.writableClean.writable.rawValue == 0x0068_0000_4123_4703)
    #expect(entry.writableClean.writable.isDirty && entry.writableClean.writable.isWritable)
    // Read-only without DBM says nothing about what was written before.
    #expect(PageTableEntry.page(frame, .kernelReadOnly).isDirty)
    #expect(PageTableEntry.empty.isDirty)
  }

  @Test func noPermissionIsBothWritableAndExecutable() {
    let all: [PagePermissions] = [
      .kernelReadWrite, .kernelReadOnly, .kernelExecute, .userReadWrite, .userReadOnly, .userExecute,
    ]
    for permissions in all {
      let entry = PageTableEntry.page(frame, permissions)
      #expect(!(entry.isWritable && (entry.isKernelExecutable || entry.isUserExecutable)), "\(permissions)")
    }
  }

  @Test func userPagesAreNonGlobalAndKernelPagesAreGlobal() {
    let notGlobal: UInt64 = 1 << 11
    #expect(PageTableEntry.page(frame, .userReadWrite).rawValue & notGlobal != 0)
    #expect(PageTableEntry.page(frame, .kernelReadWrite).rawValue & notGlobal == 0)
  }

  @Test func aBlockIsNoTableAndATableIs() {
    #expect(!PageTableEntry.block(PageFrame(0x4_0000), .kernelReadWrite).isTable)
    #expect(PageTableEntry.block(PageFrame(0x4_0000), .kernelReadWrite).isValid)
    #expect(PageTableEntry.table(frame).isTable)
  }

  @Test func aDeviceBlockUsesAttributeOne() {
    let entry = PageTableEntry.block(PageFrame(0x8000), .kernelReadWrite, kind: .device)
    #expect(entry.rawValue >> 2 & 7 == 1)
  }

  @Test func retiringKeepsTheFrameAndNothingElseIsMistakenForIt() {
    let entry = PageTableEntry.page(frame, .kernelReadWrite)
    #expect(entry.retired.isRetired && !entry.retired.isValid && !entry.retired.isEmpty)
    #expect(entry.retired.frame == frame)
    #expect(!entry.isRetired)
    #expect(PageTableEntry.empty.isEmpty && !PageTableEntry.empty.isRetired)
  }

  @Test func aTableDescriptorCountsUpToAllEntriesWithoutTouchingItsAddress() {
    var entry = PageTableEntry.table(frame)
    #expect(entry.entryCount == 0)
    for count in [1, 511, 512, 0] {
      entry = entry.withEntryCount(count)
      #expect(entry.entryCount == count)
      #expect(entry.frame == frame && entry.isTable && entry.isValid)
    }
  }

  @Test(arguments: [-1, 1024, Int.min, Int.max]) func aCountThatCannotBeTouchesNothingElse(count: Int) {
    let entry = PageTableEntry.table(frame).withEntryCount(count)
    #expect(entry.frame == frame && entry.isTable && entry.withEntryCount(0) == .table(frame))
  }

  @Test func tighteningAndLooseningAreInverse() {
    let entry = PageTableEntry.page(frame, .userReadWrite)
    #expect(!entry.readOnly.isWritable)
    #expect(entry.readOnly.writable == entry)
  }
}
