// The arithmetic of slots, against the definition: bounds of every slot, byte by byte where it matters.

import Testing

@testable import KernelThreadStacks
import KernelMachine

@Suite struct StackGeometryTests {
  static let vmalloc: [StackConfiguration] = stride(from: 4096, through: 24576, by: 4096).flatMap { size in
    [4096, 16384, 20480].flatMap { guardMinimum -> [StackConfiguration] in
      let least = StackConfiguration(.vmalloc, size: size, guardMinimum: guardMinimum)
      let span = (try? StackGeometry(least))!.stride
      let phases = [0, size, span / 2, span - 4096].filter { $0 == 0 || ($0 >= size && $0 < span) }
      return Set(phases).sorted().map {
        StackConfiguration(.vmalloc, size: size, guardMinimum: guardMinimum, phase: $0)
      }
    }
  }

  @Test func `A slot is the least power of two that holds stack and guard`() throws {
    for (size, guardMinimum, expected) in [
      (8192, 4096, 16384), (12288, 4096, 16384), (16384, 4096, 32768), (20480, 4096, 32768),
      (24576, 4096, 32768),
      (28672, 4096, 32768), (28672, 8192, 65536), (4096, 4096, 8192), (16384, 16384, 32768),
      (16384, 20480, 65536),
    ] {
      let geometry = try StackGeometry(StackConfiguration(.vmalloc, size: size, guardMinimum: guardMinimum))
      #expect(geometry.stride == expected)
      #expect(geometry.guardSize >= guardMinimum)
    }
  }

  @Test(arguments: vmalloc)
  func `Every stack pointer of a slot, guard included, leads to its stack`(_ configuration: StackConfiguration)
    throws
  {
    let geometry = try StackGeometry(configuration)
    let area = UInt(0xffff_ff80_1000_0000) + UInt(geometry.phase)
    for slot in 0..<3 {
      let bottom = area + UInt(slot * geometry.stride)
      let top = bottom + UInt(geometry.stride)
      let base = VirtualAddress(top - UInt(geometry.size))
      for sp in Swift.stride(from: bottom + 16, through: top, by: 16) {
        #expect(geometry.stackBase(stackPointer: VirtualAddress(sp)) == base)
      }
      #expect(geometry.stackBase(containing: VirtualAddress(bottom)) == base)
      #expect(geometry.stackBase(containing: VirtualAddress(top - 1)) == base)
      #expect(geometry.stackBase(stackPointer: VirtualAddress(bottom)) == base - geometry.stride)
    }
  }

  @Test(arguments: vmalloc) func `The entries of a stack and its marker never leave their window, nor meet`(
    _ configuration: StackConfiguration
  ) throws {
    let geometry = try StackGeometry(configuration)
    let pages = geometry.stride / 4096
    #expect(geometry.windowEntryBytes == pages * 8)
    let stackEntries = geometry.stackEntryOffset / 8..<geometry.stackEntryOffset / 8 + geometry.pageCount
    #expect(stackEntries.lowerBound >= 0 && stackEntries.upperBound <= pages)
    #expect((0..<pages).contains(geometry.markerEntryOffset / 8))
    #expect(!stackEntries.contains(geometry.markerEntryOffset / 8))
    // The stack that the window holds is the one that the formula gives.
    let window = VirtualAddress(0xffff_ff80_1000_0000)
    let base = window + geometry.stackOffset
    #expect(geometry.stackBase(stackPointer: base + geometry.size) == base)
  }

  @Test func `thread_info is found at the base or the top, and the usable range leaves it out`() throws {
    for placement in [ThreadInfoPlacement.base, .top] {
      let geometry = try StackGeometry(
        StackConfiguration(.vmalloc, threadInfoPlacement: placement, threadInfoSize: 96))
      let base = VirtualAddress(0xffff_ff80_1000_4000)
      let expected = placement == .base ? base : base + (16384 - 96)
      for sp in Swift.stride(from: 16, through: 16384, by: 16) {
        #expect(geometry.threadInfo(stackPointer: base + sp) == expected)
      }
      let usable = geometry.usableRange(base: base)
      #expect(usable.byteCount == 16384 - 96)
      #expect(!usable.contains(expected) && !usable.contains(expected + 95))
      #expect(usable.top.rawValue % 16 == 0)
    }
  }

  @Test func `Linear stacks obey the same formula, without a guard`() throws {
    for size in [4096, 8192, 16384, 32768] {
      let geometry = try StackGeometry(StackConfiguration(.linear, size: size))
      #expect(geometry.stride == size && geometry.guardSize == 0)
      let base = VirtualAddress(0xffff_ffc0_4000_0000 + UInt(3 * size))
      for sp in Swift.stride(from: 16, through: size, by: 16) {
        #expect(geometry.stackBase(stackPointer: base + sp) == base)
      }
    }
  }

  @Test
  func `Only linear stacks keep room for an end marker: next to the usable range, apart from thread_info`()
    throws
  {
    let base = VirtualAddress(0xffff_ffc0_4000_c000)
    for placement in [ThreadInfoPlacement.base, .top] {
      let geometry = try StackGeometry(
        StackConfiguration(.linear, threadInfoPlacement: placement, threadInfoSize: 96))
      let usable = geometry.usableRange(base: base)
      #expect(usable.byteCount == 16384 - 96 - 16)
      let marker = try #require(geometry.endMarker(base: base))
      #expect(marker.address == usable.base - 16)
      #expect(marker.address == (placement == .base ? base + 96 : base))
      let guarded = try StackGeometry(StackConfiguration(.vmalloc, threadInfoPlacement: placement))
      #expect(guarded.endMarker(base: base) == nil)
    }
  }

  @Test func `A change of any byte of an end marker is seen, and so is another stack's marker`() {
    let marker = StackEndMarker(below: VirtualAddress(0xffff_ffc0_4000_c040))
    withUnsafeTemporaryAllocation(byteCount: 16, alignment: 8) { bytes in
      let words = bytes.baseAddress!
      marker.place(at: words)
      #expect(marker.isIntact(at: words))
      for index in 0..<16 {
        bytes[index] ^= 0x40
        #expect(!marker.isIntact(at: words))
        bytes[index] ^= 0x40
      }
      StackEndMarker(below: VirtualAddress(0xffff_ffc0_4001_0040)).place(at: words)
      #expect(!marker.isIntact(at: words))
    }
  }
}
