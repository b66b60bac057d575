// Tables of /proc in files: alone, one after the other, damaged, and behind a failure.

import FailureReports
import Testing

@Suite struct ProcTableTests {
  private static let blocks = """
    Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      1      3
    Node 0, zone   Normal   1779      0      0     18     11      3      1      3      0      0      0
    """
  private static let types = """
    Page block order: 9
    Pages per block:  512

    Free pages count per migrate type at order       0      1      2      3      4      5      6      7      8      9     10
    Node    0, zone   Normal, type    Unmovable    300     20      0      0      0      0      0      0      0      0      0
    Node    0, zone   Normal, type      Movable    >100000 7      0      0      0      0      0      0      0      0      0
    Node    0, zone   Normal, type  Reclaimable      9      0      0      0      0      0      0      0      0      0      0
    Node    0, zone   Normal, type   HighAtomic      0      0      4      0      0      0      0      0      0      0      0
    Node    0, zone   Normal, type          CMA      0      0      0     50      0      0      0      0      0      0      2
    Node    0, zone   Normal, type      Isolate      0      0      0      0      0      0      0      0      0      0      0
    """
  private static let zones = """
    Node 0, zone   Normal
      pages free     120000
            min      11000
            low      13750
            high     16500
            spanned  1048576
            present  1048576
            managed  1015307
            protection: (0, 0, 0, 0)
          nr_free_pages 120000
          nr_free_cma  2448
    """
  private static let memory = """
    MemTotal:        4061228 kB
    MemFree:          480000 kB
    KernelStack:       22720 kB
    """

  @Test func `of free blocks are one reading for each moment`() throws {
    let report = try examine(Self.blocks + "\n" + Self.blocks.replacing("1779", with: "2001") + "\n")
    #expect(!report.isFailure)
    #expect(report.snapshots.count == 2)
    #expect(report.snapshots.map { $0.rows[1].counts[0] } == [1779, 2001])
  }

  @Test func `of migrate types say what a stack may use`() throws {
    let report = try examine(Self.types + "\n" + Self.zones + "\n" + Self.memory + "\n")
    let snapshot = try #require(report.snapshots.first)
    #expect(report.snapshots.count == 1)
    #expect(snapshot.typeRows.count == 6)
    #expect(snapshot.typeRows[1].counts[0] == 100_000)
    let state = try #require(report.lastState?.zones.first)
    #expect(state.isExact)
    #expect(state.largestUsableBlock == 8192)
    #expect(state.largestBlock == 4096 << 10)
    #expect(state.contiguousStacks(of: 16384) == 0)
    #expect(state.contiguousStacks(of: 8192) == 27)
    #expect(try #require(state.minimum) == 11000 * 4096)
    #expect(try #require(state.contiguous) == 2448 * 4096)
    #expect(report.lastState?.kernelStackBytes == 22720 << 10)
  }

  @Test func `of the vmalloc area are counted by what they hold`() throws {
    let areas = (0..<5).map { number in
      "0xffffc9000\(number)000000-0xffffc9000\(number)005000   20480 dup_task_struct+0x58/0x1c0 pages=4 vmalloc N0=4"
    }
    let report = try examine(
      (areas + ["0xffffc90009000000-0xffffc90009003000   12288 bpf_prog_alloc+0x3f/0xa0 pages=2 vmalloc N0=2"])
        .joined(separator: "\n") + "\n")
    let snapshot = try #require(report.snapshots.first)
    #expect(snapshot.areaCount == 6)
    #expect(snapshot.stackAreaCount == 5)
  }

  @Test func `that are cut lose the row, and say so`() throws {
    let cut = String(Self.blocks.dropLast(24))
    let report = try examine(cut + "\n")
    #expect(report.snapshots.first?.rows.map(\.zone) == ["DMA"])
    #expect(report.damages.contains { $0.zone == "Normal" })
  }

  @Test func `behind a failure do not become its figures`() throws {
    let report = try examine(
      "cat: page allocation failure: order:5, mode:0x40cc0(GFP_KERNEL|__GFP_COMP)\n" + Self.blocks + "\n")
    #expect(report.failures.map(\.cause) == [.unknown])
    #expect(report.failures[0].freeBytes == nil)
    #expect(report.snapshots.count == 1)
  }
}
