// Frame maps: reading them, showing them in fewer cells, and drawing them.

import Figures
import Testing

@testable import kstacks

@Suite struct FrameMapTests {
  @Test func `Run-length text is read`() throws {
    let map = try #require(FrameMap("r120f1b1x3s7"))
    #expect(
      map.runs.map(\.use) == [.reserved, .free, .ballast, .absent, .stack]
        && map.runs.map(\.count) == [120, 1, 1, 3, 7])
    #expect(map.frameCount == 132)
    #expect(map.count(of: .reserved) == 120)
    #expect(map.count(of: .pageTable) == 0)
    #expect(FrameMap("")?.frameCount == 0)
  }

  @Test(arguments: ["12", "r", "r12f", "rf3", "q1", "r0", "r1 f1", "r-1", "r1\u{660}", "r99999999999999999999"])
  func `What is no frame map is refused`(text: String) { #expect(FrameMap(text) == nil) }

  @Test func `Enough cells show each frame`() throws {
    let map = try #require(FrameMap("r2f1b1s1"))
    #expect(map.cells(5) == [.reserved, .reserved, .free, .ballast, .stack])
  }

  @Test func `A cell of many frames shows the one use it has`() throws {
    let map = try #require(FrameMap("r1000f3000"))
    #expect(map.cells(4) == [.reserved, .free, .free, .free])
  }

  @Test(arguments: [1, 7, 64, 512, 1000]) func `Uses get cells in proportion to their frames`(cells: Int) throws
  {
    // Alternating frames, which choosing the most frequent use would show as one use only.
    let text =
      "r3000" + String(repeating: "f1b1", count: 5000) + String(repeating: "s4p1", count: 2000) + "u999x1"
    let map = try #require(FrameMap(text))
    let shown = map.cells(cells)
    #expect(shown.count == cells)
    for use in FrameUse.allCases {
      let exact = Double(map.count(of: use)) / Double(map.frameCount) * Double(cells)
      let got = Double(shown.filter { $0 == use }.count)
      #expect(abs(got - exact) <= 2, "\(use): \(got) cells shown, \(exact) exact")
    }
  }

  @Test func `A map of fewer frames than cells is stretched`() throws {
    #expect(try #require(FrameMap("f1s1")).cells(4) == [.free, .free, .stack, .stack])
  }

  @Test func `Nothing is shown of nothing`() throws {
    #expect(try #require(FrameMap("")).cells(10) == [])
    #expect(MemoryPicture(map: try #require(FrameMap("")), inColour: false).lines == [])
  }

  @Test func `A piped picture is plain characters`() throws {
    let map = try #require(FrameMap("r2f2b2s2"))
    let picture = MemoryPicture(map: map, width: 4, height: 2, inColour: false)
    #expect(picture.lines == ["##..", "ooSS"])
    #expect(MemoryPicture.legend([picture]) == "# kernel  . free  o pinned  S stacks")
    #expect(picture.bytesPerCell == 4096)
  }

  @Test func `The legend has the uses that any picture shows`() throws {
    let pictures = try ["f4000p1t1b4000", "s4000x4002"].map {
      MemoryPicture(map: try #require(FrameMap($0)), width: 4, height: 1, inColour: false)
    }
    #expect(pictures.map(\.lines) == [["..oo"], ["SS  "]])
    #expect(MemoryPicture.legend(pictures) == ". free  o pinned  S stacks")
  }

  @Test func `Maps that differ in a few frames look alike`() throws {
    let pinned = String(repeating: "f1b1", count: 16_000)
    let map = try #require(FrameMap("r700" + pinned))
    #expect(map.isMuchLike(map))
    #expect(map.isMuchLike(try #require(FrameMap("r720f20" + pinned.dropLast(2 * 40)))))
    #expect(!map.isMuchLike(try #require(FrameMap("r700f16000b16000"))), "the same amounts, in other places")
    #expect(!map.isMuchLike(try #require(FrameMap("r700" + pinned + "f1"))), "another size")
    #expect(!map.isMuchLike(try #require(FrameMap("r700" + pinned.replacing("f", with: "s")))))
  }

  @Test func `A terminal picture has two cells in each character`() throws {
    let map = try #require(FrameMap("f2s2"))
    let picture = MemoryPicture(map: map, width: 2, height: 1, inColour: true)
    #expect(picture.lines == ["\u{1b}[38;5;114;48;5;203m▀▀\u{1b}[0m"])
    #expect(picture.bytesPerCell == 4096)
  }
}
