// What a file is by its first bytes.

/// Tells text from everything else.
enum FileKind {
  private static let signatures: [(bytes: [UInt8], kind: String)] = [
    ([0x1f, 0x8b], "it is compressed with gzip; unpack it first"),
    ([0x28, 0xb5, 0x2f, 0xfd], "it is compressed with zstd; unpack it first"),
    ([0xfd, 0x37, 0x7a, 0x58, 0x5a], "it is compressed with xz; unpack it first"),
    ([0x42, 0x5a, 0x68], "it is compressed with bzip2; unpack it first"),
    ([0x50, 0x4b, 0x03, 0x04], "it is a zip archive; unpack it first"),
    ([0x89, 0x50, 0x4e, 0x47], "it is a picture; paste the log's text instead"),
    ([0xff, 0xd8, 0xff], "it is a picture; paste the log's text instead"),
    ([0x7f, 0x45, 0x4c, 0x46], "it is a program"),
    ([0x25, 0x50, 0x44, 0x46], "it is a PDF document; paste the log's text instead"),
    ([0x4c, 0x50, 0x4b, 0x53, 0x48, 0x48, 0x52, 0x48], "it is a journal; use the output of journalctl -k"),
  ]

  /// What a file is that begins with `sample`, if it is no text.
  static func binary(_ sample: [UInt8]) -> String? {
    if let known = signatures.first(where: { sample.starts(with: $0.bytes) }) { return known.kind }
    var strange = 0
    for byte in sample
    where byte < 0x20 && ![0x09, 0x0a, 0x0d, 0x1b, 0x08, 0x0c, 0x07].contains(byte) || byte == 0x7f {
      strange += 1
    }
    // Logs of machines that crashed have some zeros where nothing was written.
    return strange * 10 > sample.count ? "it is full of control characters" : nil
  }
}
