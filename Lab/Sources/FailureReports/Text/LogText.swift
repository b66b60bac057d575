// From the lines of a file to the messages of a kernel.

/// Decodes, cleans and joins the lines of a log.
///
/// The order matters: transport encodings first, then markup, then characters, then quotes and prefixes, then wrapping.
package struct LogText {
  private let isQuotedPrintable: Bool
  private let isHTML: Bool
  private var html = HTMLText()
  /// A quoted-printable line whose end has not come yet.
  private var unfinished: TextLine?
  private var quotes = QuoteMarks()
  private var assembler = LineAssembler()

  /// A decoder for a text that begins with `sample`.
  package init(sample: [UInt8]) {
    isQuotedPrintable = QuotedPrintable.isUsed(in: sample)
    var decoded = sample
    if isQuotedPrintable { decoded = Self.decodedSample(sample) }
    isHTML = HTMLText.isUsed(in: decoded)
  }

  private static func decodedSample(_ sample: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    for line in sample.split(separator: 0x0a, omittingEmptySubsequences: false) {
      var bytes = Array(line)
      if bytes.last == 0x0d { bytes.removeLast() }
      let (text, continues) = QuotedPrintable.decode(bytes)
      result += text
      if !continues { result.append(0x0a) }
    }
    return result
  }

  /// Takes a line of the file, and adds the messages that are complete.
  package mutating func add(_ line: TextLine, to messages: inout [LogMessage]) {
    var line = line
    if isQuotedPrintable {
      let (text, continues) = QuotedPrintable.decode(line.bytes)
      line.bytes = text
      if var before = unfinished {
        before.join(line)
        line = before
        unfinished = nil
      }
      if continues && line.joints.count < 200 {
        unfinished = line
        return
      }
    }
    decoded(line, to: &messages)
  }

  /// Adds what is left.
  package mutating func finish(to messages: inout [LogMessage]) {
    if let line = unfinished { decoded(line, to: &messages) }
    unfinished = nil
    assembler.flush(to: &messages)
  }

  private mutating func decoded(_ line: TextLine, to messages: inout [LogMessage]) {
    for text in isHTML ? html.decode(line) : [line] {
      var clean = TerminalText.clean(text)
      var start = quotes.take(clean.bytes)
      let text = clean.bytes[start...].drop { $0 == .blank }
      if text.first == UInt8(ascii: "{"), let message = JSONLogLine.message(Array(text)) {
        clean = TerminalText.clean(TextLine(message, number: clean.number(at: start)))
        start = 0
      }
      for message in Message.split(clean, from: start) { assembler.add(message, to: &messages) }
    }
  }
}
