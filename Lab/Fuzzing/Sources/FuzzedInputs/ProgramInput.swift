// What must hold of an ELF file and the process that is made of it.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

// A page of them; comparing bytes one by one would take most of the time.
nonisolated(unsafe) private let zeroes = UnsafeRawPointer(
  UnsafeMutableRawBufferPointer.allocate(byteCount: pageSize, alignment: 16).initializeMemory(
    as: UInt8.self, repeating: 0
  )
  .baseAddress!)

/// What a program header says of a segment that is to be loaded.
private struct Header {
  var flags: UInt32
  var offset, address, fileSize, memorySize: UInt

  /// The loadable segments of a file whose header is known to be a program's.
  static func all(in file: UnsafeRawBufferPointer) -> [Header] {
    func number(_ offset: Int, _ count: Int) -> UInt {
      (0..<count).reversed().reduce(0) { $0 << 8 | UInt(file[offset + $1]) }
    }
    let table = Int(number(32, 8))
    return (0..<Int(number(56, 2))).compactMap { index in
      let at = table + index * Int(number(54, 2))
      guard number(at, 4) == 1, number(at + 40, 8) > 0 else { return nil }
      return Header(
        flags: UInt32(number(at + 4, 4)), offset: number(at + 8, 8), address: number(at + 16, 8),
        fileSize: number(at + 32, 8), memorySize: number(at + 40, 8))
    }
  }

  /// Whether the segment can be loaded where it wants to be, if nothing else is there.
  var isInUserAddresses: Bool {
    let all = SmallKernel.userAddresses
    return address % UInt(pageSize) == 0 && address >= all.lowerBound.rawValue
      && address < all.upperBound.rawValue && memorySize <= all.upperBound.rawValue - address
  }

  var pages: Range<UInt> { address >> 12..<(address + memorySize + 4095) >> 12 }

  var permissions: PagePermissions {
    flags & 1 != 0 ? .userExecute : flags & 2 != 0 ? .userReadWrite : .userReadOnly
  }
}

/// Makes the first process of a file, and looks at each of its pages.
func judgeProgram(_ file: UnsafeRawBufferPointer) throws(Finding) {
  let image: ProgramImage
  do { image = try ProgramImage(file: file) } catch { return }
  let headers = Header.all(in: file)
  try require(headers.count == image.segmentCount, "each segment is kept")
  for (index, header) in headers.enumerated() {
    let segment = image.segment(at: index)
    try require(header.flags & 3 != 3, "what is both written and executed is refused")
    try require(
      header.offset + header.fileSize <= UInt(file.count) && header.fileSize <= header.memorySize,
      "what reaches beyond the file is refused")
    try require(
      segment.address.rawValue == header.address && segment.byteCount == Int(header.memorySize)
        && segment.contents.count == Int(header.fileSize) && segment.permissions == header.permissions,
      "a segment is what its header says")
  }
  try SmallKernel.use(.vmalloc) { (kernel) throws(Finding) in
    let task: TaskPointer
    do throws(ForkError) {
      task = try kernel.processes.pointee.createFirst(image)
    } catch {
      if case .badImage = error { return try require(!isSound(headers, image), "a sound image is no bad one") }
      return
    }
    try require(isSound(headers, image), "a segment that overlaps another or is no user's is refused")
    try expectPages(of: task, headers, file, image, in: kernel)
    try kernel.expectConsistency(of: [task])
  }
}

private func isSound(_ headers: [Header], _ image: ProgramImage) -> Bool {
  guard headers.allSatisfy(\.isInUserAddresses) else { return false }
  let stack = image.stackBase.rawValue >> 12..<image.stackTop.rawValue >> 12
  let ranges = (headers.map(\.pages) + [stack]).sorted { $0.lowerBound < $1.lowerBound }
  return !zip(ranges, ranges.dropFirst()).contains { $0.upperBound > $1.lowerBound }
}

private func expectPages(
  of task: TaskPointer, _ headers: [Header], _ file: UnsafeRawBufferPointer, _ image: ProgramImage,
  in kernel: SmallKernel
) throws(Finding) {
  var count = 0
  let tables = TranslationTables(root: task.pointee.addressSpaceRoot, machine: kernel.machine)
  try tables.visitLeaves(in: SmallKernel.userAddresses) { (leaf) throws(Finding) in
    count += 1
    let page = leaf.address.rawValue >> 12
    let header = headers.first { $0.pages.contains(page) }
    try require(
      leaf.level == 3 && leaf.entry == .page(leaf.entry.frame, header?.permissions ?? .userReadWrite),
      "a page has the rights that its segment's header says")
    if header == nil {
      try require(
        (image.stackBase..<image.stackTop).contains(leaf.address), "what is in no segment is the stack")
    }
    let offset = header.map { (page << 12) - $0.address } ?? 0
    let length = Int(min(4096, max(header?.fileSize ?? 0, offset) - offset))
    let first = Int((header?.offset ?? 0) + offset)
    let contents = kernel.machine.pointer(to: leaf.entry.frame.physicalAddress)
    let isAsInFile = length == 0 || memcmp(contents, file.baseAddress! + first, length) == 0
    try require(isAsInFile, "a page holds what the file has for it")
    try require(
      memcmp(contents + length, zeroes, pageSize - length) == 0, "what the file has nothing for is zero")
  }
  let expected = headers.reduce(image.stackPageCount) { $0 + $1.pages.count }
  try require(count == expected, "each page of each segment is there, and no other")
}
