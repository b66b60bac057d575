// A self-test of all normal and device mappings, read from the tables: QEMU tolerates wrong ones, a CPU that speculates does
// not.
import AArch64Machine
import CAArch64
import DeviceTree
import KernelAssembly
import KernelStacks
import Scenarios

extension PageTableEntry {
  // Whether a leaf entry's attributes (AttrIndx) are those of device memory.
  fileprivate var isDevice: Bool { rawValue >> 2 & 7 == MemoryAttributeIndices.standard.device }
}

extension MappedLeaf {
  fileprivate var physicalRange: BoardRange {
    BoardRange(start: entry.frame.physicalAddress.rawValue, byteCount: UInt(byteCount))
  }
}

// The whole pages that a range overlaps.
private func pages(_ range: BoardRange) -> BoardRange {
  let start = range.start & ~4095
  return BoardRange(start: start, byteCount: (range.start - start + range.byteCount + 4095) & ~4095)
}

private func firstPage(_ range: BoardRange) -> BoardRange {
  BoardRange(start: range.start & ~4095, byteCount: 4096)
}

/// Checks that the linear map has all RAM and the devices and nothing else, and that the early tables had no more than they
/// need.
func testAddressSpace() -> Bool {
  let board = KernelObjects.board
  let layout: AddressLayout
  do {
    layout = try AddressLayout(virtualAddressBits: AArch64().virtualAddressBits)
  } catch {
    return false
  }
  var (normal, foreign, devices) = (0, 0, 0)
  let known = board.pointee.devices
  TranslationTables(kernelOf: AArch64()).visitLeaves(in: layout.linearMap) { leaf in
    let range = leaf.physicalRange
    if leaf.entry.isDevice {
      for index in 0..<known.count where pages(known[index]).contains(range) { devices += leaf.byteCount }
    } else if isMemory(range) {
      normal += leaf.byteCount
    } else {
      foreign += 1
    }
  }
  var expected: UInt = 0
  for index in 0..<known.count { expected += pages(known[index]).byteCount }
  var passed = check(
    "the linear map has all RAM", normal == KernelObjects.memory.pointee.totalFrames * pageSize)
  passed = check("and nothing else as normal memory", foreign == 0) && passed
  passed = check("the registers of devices are device memory", devices == Int(expected)) && passed
  passed = check("what must not be mapped is not", areUnmappedRangesGone(layout)) && passed
  // The early tables have 39 bits.
  return (AArch64().virtualAddressBits != 39 || checkEarlyTables()) && passed
}

private func areUnmappedRangesGone(_ layout: AddressLayout) -> Bool {
  let board = KernelObjects.board
  for index in 0..<board.pointee.reservationCount where board.pointee.reservations[index].isUnmapped {
    let range = pages(board.pointee.reservations[index])
    var page = range.start
    while page - range.start < range.byteCount {
      if !ExceptionSyndrome(rawValue: probe_load(page + layout.linearMapOffset)).isTranslationFault {
        return false
      }
      page += UInt(pageSize)
    }
  }
  return true
}

// The early tables have not changed since the final ones took over.
private func checkEarlyTables() -> Bool {
  let board = KernelObjects.board
  let tables = imagePhysicalAddress(kernel_early_tables())
  let image = BoardRange(
    start: imagePhysicalAddress(kernel_image_start()).rawValue,
    byteCount: kernel_image_end() - kernel_image_start())
  let run = EarlyFrames.runOfFinalTables
  let finalTables = BoardRange(
    start: run.first.physicalAddress.rawValue, byteCount: UInt(run.end - run.first) * UInt(pageSize))
  var (known, foreign, devices) = (0, 0, 0)
  let upper = VirtualAddressRange(
    VirtualAddress(0xffff_ff80_0000_0000), VirtualAddress(0xffff_ffff_ffff_f000))
  TranslationTables(root: tables + 4 * pageSize, machine: AArch64()).visitLeaves(in: upper) { leaf in
    let range = leaf.physicalRange
    if leaf.entry.isDevice {
      let isFirstPage =
        range == firstPage(board.pointee.devices[0]) || range == firstPage(board.pointee.devices[1])
      devices += isFirstPage ? 1 : 100
    } else if image.contains(range) || pages(deviceTreeRange).contains(range) || finalTables.contains(range) {
      known += leaf.byteCount
    } else {
      foreign += 1
    }
  }
  let expected = image.byteCount + pages(deviceTreeRange).byteCount + finalTables.byteCount
  var passed = check(
    "early tables have the image, the device tree and the final tables", known == Int(expected))
  passed = check("and nothing else as normal memory, early", foreign == 0) && passed
  passed =
    check(
      "one page of the serial port, and one of a power manager, are device memory, early",
      devices == (board.pointee.powerManager.byteCount > 0 ? 2 : 1)) && passed
  var (identity, others) = (0, 0)
  let lower = VirtualAddressRange(VirtualAddress(0), VirtualAddress(1 << 39))
  TranslationTables(root: tables + pageSize, machine: AArch64()).visitLeaves(in: lower) { leaf in
    let isPage = leaf.level == 3 && leaf.address.rawValue == leaf.entry.frame.physicalAddress.rawValue
    let isHead = isPage && leaf.entry.frame.physicalAddress.rawValue == image.start
    if isHead, !leaf.entry.isWritable, !leaf.entry.isUserExecutable { identity += 1 } else { others += 1 }
  }
  return check(
    "one page is mapped at its physical address, and cannot be written", identity == 1 && others == 0)
    && passed
}
