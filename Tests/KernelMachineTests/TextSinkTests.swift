// The text of errors: numbers, sizes and refusals as they appear on the console and in result files.

import KernelMachine
import Testing

private struct Lines: TextSink {
  var bytes: [UInt8] = []
  mutating func write(byte: UInt8) { bytes.append(byte) }
  static func written(_ body: (inout Lines) -> Void) -> String {
    var sink = Lines()
    body(&sink)
    return String(decoding: sink.bytes, as: UTF8.self)
  }
}

struct TextSinkTests {
  @Test(arguments: [0, 7, 10, 99, 1_000_000, -1, Int.max, Int.min])
  func `Decimal numbers read as Swift writes them`(value: Int) {
    #expect(Lines.written { $0.write(value) } == "\(value)")
  }

  @Test func `Hexadecimal numbers have sixteen digits`() {
    #expect(Lines.written { $0.write(hex: 0xffff_ff80_0800_0000) } == "0xffffff8008000000")
    #expect(Lines.written { $0.write(hex: 10) } == "0x000000000000000a")
  }

  @Test(arguments: [
    (0, "0 bytes"), (1023, "1023 bytes"), (4096, "4 KiB"), (8192, "8 KiB"), ((57 << 20) + 4096, "57 MiB"),
    (1 << 30, "1 GiB"), ((1 << 30) + (512 << 20), "1536 MiB"),
  ])
  func `Sizes use the largest fitting unit`(bytes: Int, text: String) {
    #expect(Lines.written { $0.write(byteCount: bytes) } == text)
  }

  @Test func `Marks in a text stand for the figures, in their order`() {
    #expect(Lines.written { $0.write("%d of %d…", -3, 12) } == "-3 of 12…")
    #expect(
      Lines.written { $0.write("at %x: %b free", 4096 as UInt, 8192) } == "at 0x0000000000001000: 8 KiB free")
    #expect(Lines.written { $0.write("none", 1) } == "none")
    let refusal = FrameSourceError.wrongOrder(PageFrame(0x42), order: 3)
    #expect(
      refusal.description == "frame 0x0000000000000042 does not start an allocated block of order 3")
  }

  @Test func `A refusal says what was asked and what there was`() {
    let refusal = FrameRefusal(order: 2, purpose: .threadStack, freeFrames: 57 << 8, largestFreeOrder: 1)
    #expect("\(refusal)" == "order 2 for a thread stack refused: 57 MiB free, largest block 8 KiB")
    let nothing = FrameRefusal(order: 0, purpose: .pageTable, freeFrames: 0, largestFreeOrder: -1)
    #expect(nothing.description == "order 0 for a page table refused: 0 bytes free, largest block 0 bytes")
  }
}
