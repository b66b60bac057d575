// The bits of a translation-table entry, against values worked out from the architecture manual by hand.

import KernelMachine
import Testing

struct PageTableEntryTests {
  let frame = PageFrame(0x4_1234)

  @Test func `A kernel page has the access flag, is inner shareable and never executes`() {
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
  func `Every permission has exactly its bits`(permissions: PagePermissions, bits: UInt64) {
    #expect(PageTableEntry.page(frame, permissions).rawValue == bits | 0x4123_4703)
    #expect(PageTableEntry.block(PageFrame(0x4_0000), permissions).rawValue == bits | 0x4000_0701)
  }

  // DBM is bit 51; with it, AP[2] set means "not written yet".
  @Test func `A writable clean entry becomes dirty by clearing one bit`() {
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

  @Test func `No permission is both writable and executable`() {
    let all: [PagePermissions] = [
      .kernelReadWrite, .kernelReadOnly, .kernelExecute, .userReadWrite, .userReadOnly, .userExecute,
    ]
    for permissions in all {
      let entry = PageTableEntry.page(frame, permissions)
      #expect(!(entry.isWritable && (entry.isKernelExecutable || entry.isUserExecutable)), "\(permissions)")
    }
  }

  @Test func `User pages are non-global, and kernel pages are global`() {
    let notGlobal: UInt64 = 1 << 11
    #expect(PageTableEntry.page(frame, .userReadWrite).rawValue & notGlobal != 0)
    #expect(PageTableEntry.page(frame, .kernelReadWrite).rawValue & notGlobal == 0)
  }

  @Test func `A block is no table, and a table is`() {
    #expect(!PageTableEntry.block(PageFrame(0x4_0000), .kernelReadWrite).isTable)
    #expect(PageTableEntry.block(PageFrame(0x4_0000), .kernelReadWrite).isValid)
    #expect(PageTableEntry.table(frame).isTable)
  }

  @Test func `A device block uses attribute one`() {
    let entry = PageTableEntry.block(PageFrame(0x8000), .kernelReadWrite, kind: .device)
    #expect(entry.rawValue >> 2 & 7 == 1)
  }

  @Test func `Retiring keeps the frame, and nothing else is mistaken for it`() {
    let entry = PageTableEntry.page(frame, .kernelReadWrite)
    #expect(entry.retired.isRetired && !entry.retired.isValid && !entry.retired.isEmpty)
    #expect(entry.retired.frame == frame)
    #expect(!entry.isRetired)
    #expect(PageTableEntry.empty.isEmpty && !PageTableEntry.empty.isRetired)
  }

  @Test func `A table descriptor counts up to all entries without touching its address`() {
    var entry = PageTableEntry.table(frame)
    #expect(entry.entryCount == 0)
    for count in [1, 511, 512, 0] {
      entry = entry.withEntryCount(count)
      #expect(entry.entryCount == count)
      #expect(entry.frame == frame && entry.isTable && entry.isValid)
    }
  }

  @Test(arguments: [-1, 1024, Int.min, Int.max]) func `A count that cannot be touches nothing else`(count: Int)
  {
    let entry = PageTableEntry.table(frame).withEntryCount(count)
    #expect(entry.frame == frame && entry.isTable && entry.withEntryCount(0) == .table(frame))
  }

  @Test func `Tightening and loosening are inverse`() {
    let entry = PageTableEntry.page(frame, .userReadWrite)
    #expect(!entry.readOnly.isWritable)
    #expect(entry.readOnly.writable == entry)
  }
}
