// Decoding, cleaning and joining: each step alone.

import Testing

@testable import FailureReports

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
private func string(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
private func line(_ text: String, _ number: Int = 1) -> TextLine { TextLine(bytes(text), number: number) }

/// The messages of a text.
private func messages(_ text: String) -> [LogMessage] {
  var log = LogText(sample: bytes(text))
  var result: [LogMessage] = []
  for (index, part) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
    log.add(line(String(part), index + 1), to: &result)
  }
  log.finish(to: &result)
  return result
}

@Suite struct QuotedPrintableTests {
  @Test func `escapes become bytes`() {
    #expect(QuotedPrintable.decode(bytes("order=3D2, a=C2=A0b")).text == bytes("order=2, a\u{a0}b"))
  }

  @Test func `a line that ends with the sign goes on in the next`() {
    let decoded = QuotedPrintable.decode(bytes("gfp_mask=3D0x27000c0(GFP_KERNEL_ACC="))
    #expect(decoded.continues)
    #expect(string(decoded.text) == "gfp_mask=0x27000c0(GFP_KERNEL_ACC")
    #expect(!QuotedPrintable.decode(bytes("present:15984kB=20")).continues)
    #expect(string(QuotedPrintable.decode(bytes("present:15984kB=20")).text) == "present:15984kB ")
  }

  @Test func `what is no escape stays`() {
    #expect(string(QuotedPrintable.decode(bytes("a=xyz b=")).text) == "a=xyz b")
    #expect(string(QuotedPrintable.decode(bytes("total = 1032kB")).text) == "total = 1032kB")
  }

  @Test func `is told from a log with equals signs`() {
    #expect(QuotedPrintable.isUsed(in: bytes("bash cpuset=3D/ mems_allowed=3D0\n")))
    #expect(
      !QuotedPrintable.isUsed(in: bytes("gfp_mask=0xd0, order=2\nhugepages_size=2048kB\n4096kB =\n 15860kB")))
  }
}

@Suite struct HTMLTests {
  private func decode(_ text: String) -> [String] {
    var html = HTMLText()
    return html.decode(line(text)).map { string($0.bytes) }
  }

  @Test func `entities become characters`() {
    #expect(
      decode("[&lt;8005f4a8&gt;] (start&#43;0x104/0x150)&nbsp;&amp;&#x2a;") == [
        "[<8005f4a8>] (start+0x104/0x150) &*"
      ])
    #expect(decode("a & b &unknown; &#xffffffff;") == ["a & b &unknown; &#xffffffff;"])
  }

  @Test func `tags go, and some of them end a line`() {
    #expect(decode("<p class=\"x\"><span>Mem-info:<o:p></o:p></span></p>") == ["Mem-info:"])
    #expect(
      decode("DMA free:1kB<br>lowmem_reserve[]: 0<br/>end") == ["DMA free:1kB", "lowmem_reserve[]: 0", "end"])
  }

  @Test func `a kernel's own angle brackets stay`() {
    #expect(
      decode("<4>[1.0] use vmalloc=<size> <TASK> [<ffffffff8142b8d3>]") == [
        "<4>[1.0] use vmalloc=<size> <TASK> [<ffffffff8142b8d3>]"
      ])
  }

  @Test func `a tag may end in a later line`() {
    var html = HTMLText()
    #expect(html.decode(line("a<span")).map { string($0.bytes) } == ["a"])
    #expect(html.decode(line("style=\"x\"")).isEmpty)
    #expect(html.decode(line("lang=\"en\">b")).map { string($0.bytes) } == ["b"])
  }
}

@Suite struct TerminalTextTests {
  private func clean(_ text: [UInt8]) -> String { string(TerminalText.clean(TextLine(text, number: 1)).bytes) }

  @Test func `has no colours`() {
    #expect(
      clean(bytes("\u{1b}[1;31mDMA\u{1b}[0m free:\u{1b}[38;5;2m1kB\u{1b}]0;title\u{7}")) == "DMA free:1kB")
    #expect(clean(bytes("^[[31mDMA^[[0m #033[1mfree #011x")) == "DMA free  x")
  }

  @Test func `has blanks of one kind`() {
    #expect(clean(bytes("a\tb\u{a0}c\u{2003}d\u{feff}e\u{200b}f")) == "a b c def")
    #expect(clean([0x61, 0xa0, 0x62]) == "a b")
    #expect(clean(bytes("a\u{0}b\u{8}\r")) == "ab")
  }

  @Test func `has no underscores in the place of blanks, but those of identifiers`() {
    #expect(
      clean(bytes("Node 0, zone____ Normal____ 1779__________ 0"))
        == "Node 0, zone     Normal     1779           0")
    #expect(clean(bytes("____ 1__________ 0")) == "     1           0")
    #expect(clean(bytes("___slab_alloc+0x1/0x2 __alloc_pages")) == "___slab_alloc+0x1/0x2 __alloc_pages")
  }
}

@Suite struct QuoteMarkTests {
  @Test(arguments: [
    ("> > > Node 0", 6), (">> DMA", 3), (">DMA", 1), ("| [    4.7]", 2), ("DMA free", 0),
    (">] (copy_process", 0),
    ("|__GFP_ZERO)", 0), ("> >] (copy", 2),
  ]) func `are found`(_ text: String, _ length: Int) {
    #expect(QuoteMarks.length(bytes(text)) == length)
  }

  @Test func `take a blank only where all lines have one`() {
    var attached = QuoteMarks()
    #expect(attached.take(bytes(">Call Trace:")) == 1)
    #expect(attached.take(bytes("> dump_stack+0x5c/0x82")) == 1)
    #expect(attached.take(bytes(">")) == 1)
    var apart = QuoteMarks()
    #expect(apart.take(bytes("> Call Trace:")) == 2)
    #expect(apart.take(bytes(">  dump_stack+0x5c/0x82")) == 2)
    #expect(apart.take(bytes("no mark")) == 0)
  }
}

@Suite struct PrefixTests {
  /// What printers put in front of "Normal free:1kB".
  private static let prefixes: [String] = [
    "[  126.472373] ", "<4>[309805.658142s][pid:1361,cpu5,server.thread]", "[ 1629.930998][T14021] ",
    "[ 1629.930998][   C3] ", "[Wed Sep 30 03:58:46 2020] ", "kern  :warn  : [   38.708419] ", "[Sep30 03:58] ",
    "[  +0.000012] ", "[    5.123456 <    0.000012>] ", "2020-09-30T03:58:46,123456+02:00 ",
    "Mar 26 12:32:15 host kernel: [126742.472373] ", "Dec 20 14:02:50 kernel: ", "kernel: [ 2580.395592] ",
    "May 14 09:28:44 10 kernel: [  582.073994] ", "2020-09-30T03:58:46.123456+02:00 host kernel: ",
    "2020-09-30 03:58:46 host kernel: [    1.000000] ",
    "Wed Sep 30 03:58:46 2020 kern.warn kernel: [  582.073994] ",
    "07-13 08:41:51.341 <4>[309805.658142s]", "07-13 08:41:51.341  1234  1235 W kernel  : [   12.345678] ",
    "W/kernel  (    0): ", "[12:49:32.315][Moby           ][Info   ] [  105.645635] ",
    "web_1  | [  105.645635] ",
    "Jan  1 00:00:12 (none) user.warn kernel: [   12.345678] ",
    "kern.log.1:Mar 26 12:32:15 host kernel: [1.234567] ",
    "Sep 30 03:58:46 host kernel[0]: ", "<6>[   12.345678]  (3)[1234:kworker/3:1]", "host kernel: ",
    "<4>[   12.345678] [2:  kworker/2:1:  123] ", "|  [12345.678901] ",
  ]

  @Test(arguments: prefixes) func `of every logger are taken off`(_ prefix: String) throws {
    let found = messages(prefix + "Normal free:1kB")
    #expect(found.map { string($0.text.bytes).trimmingBlanks } == ["Normal free:1kB"])
  }

  @Test func `tell the kernel's time and who printed`() throws {
    let message = try #require(messages("[ 1629.930998][T14021] x yz").first)
    #expect(message.microseconds == 1_629_930_998)
    #expect(message.caller == "T14021")
  }

  @Test func `inside a line begin another message`() {
    let found = messages("3*4096kB [73821.310347] Node 0 hugepages_total=0 [73821.310348] (M) x")
    #expect(
      found.map { string($0.text.bytes).trimmingBlanks } == ["3*4096kB", "Node 0 hugepages_total=0", "(M) x"])
  }

  @Test func `are not seen in messages`() {
    for text in [
      "14080 pages of RAM", "DMA: 1*4kB = 4kB", "lowmem_reserve[]: 0 0", "[<8011b398>] (copy_process)",
    ] {
      #expect(LogPrefix(of: bytes(text)).length == 0)
    }
  }
}

@Suite struct WrappedMessageTests {
  @Test func `are joined at blanks and inside words`() {
    let found = messages(
      "> [1.000001] Normal free:20212kB min:16384kB low:20480kB high:2457\n> 6kB writ\n> epending:0kB\n> [1.000002] lowmem_reserve[]: 0 0"
    )
    #expect(
      found.map { string($0.text.bytes) } == [
        "Normal free:20212kB min:16384kB low:20480kB high:24576kB writepending:0kB", "lowmem_reserve[]: 0 0",
      ])
    #expect(found[0].text.number(at: 60) == 2)
    #expect(found[0].text.number(at: 0) == 1)
  }

  @Test func `without prefixes end where another one begins`() {
    let found = messages(
      "DMA free:1kB min:2kB\nactive_file:0kB inactive\n_file:0kB\nlowmem_reserve[]: 0 0\nDMA: 1*4kB\n2*8kB = 20kB\n5 pages"
    )
    #expect(
      found.map { string($0.text.bytes) } == [
        "DMA free:1kB min:2kBactive_file:0kB inactive_file:0kB", "lowmem_reserve[]: 0 0",
        "DMA: 1*4kB2*8kB = 20kB", "5 pages",
      ])
  }
}

@Suite struct JSONLogLineTests {
  @Test func `give their message`() {
    #expect(
      JSONLogLine.message(bytes(#"{"log":"[ 1.0] a \"b\" \u003c4\u003e\n","stream":"stderr"}"#)).map(string)
        == #"[ 1.0] a "b" <4>"#)
    #expect(
      JSONLogLine.message(bytes(#"{"PRIORITY":"4","MESSAGE":"DMA free:1kB"}"#)).map(string) == "DMA free:1kB")
    #expect(JSONLogLine.message(bytes(#"{"a":1}"#)) == nil)
    #expect(JSONLogLine.message(bytes(#"{"log":"cut of\"#)).map(string) == "cut of")
    let quoted = messages(#">> {"log":"[    1.000001] DMA free:1kB\n","stream":"stdout"}"#)
    #expect(quoted.map { string($0.text.bytes) } == ["DMA free:1kB"])
    #expect(quoted.first?.microseconds == 1_000_001)
  }
}

extension String {
  fileprivate var trimmingBlanks: String {
    var text = Substring(self)
    while text.first == " " { text = text.dropFirst() }
    while text.last == " " { text = text.dropLast() }
    return String(text)
  }
}
