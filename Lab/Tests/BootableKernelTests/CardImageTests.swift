// The image of an SD card: what a reader of the format finds there, and a kernel that is booted from it.

import Foundation
import ImageTools
import Testing

/// Reads a FAT32 partition as the format's description has it: by clusters and their chains.
struct CardReader {
  let bytes: [UInt8]
  let partition: Int

  init(_ bytes: [UInt8]) throws {
    self.bytes = bytes
    try #require(bytes[510] == 0x55 && bytes[511] == 0xaa)
    try #require(bytes[446 + 4] == 0x0c)
    partition = 512 * Self.number(bytes, 446 + 8, 4)
  }

  static func number(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> Int {
    (0..<count).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
  }

  func field(_ offset: Int, _ count: Int) -> Int { Self.number(bytes, partition + offset, count) }
  var clusterBytes: Int { field(11, 2) * field(13, 1) }
  var fatBytes: Int { field(36, 4) * field(11, 2) }
  var firstFAT: Int { partition + field(14, 2) * field(11, 2) }
  var firstCluster: Int { firstFAT + field(16, 1) * fatBytes }
  var clusterCount: Int {
    (field(32, 4) * field(11, 2) - (firstCluster - partition)) / clusterBytes
  }

  /// The bytes of a chain of clusters.
  func chain(from first: Int) throws -> [UInt8] {
    var (cluster, result) = (first, [UInt8]())
    while cluster < 0x0fff_fff8 {
      try #require(cluster >= 2 && cluster < clusterCount + 2)
      let start = firstCluster + (cluster - 2) * clusterBytes
      result += bytes[start..<start + clusterBytes]
      cluster = Self.number(bytes, firstFAT + 4 * cluster, 4)
    }
    return result
  }

  /// The files of the root folder by name.
  func files() throws -> [String: [UInt8]] {
    let folder = try chain(from: field(44, 4))
    var (files, long) = ([String: [UInt8]](), [UInt16]())
    for start in stride(from: 0, to: folder.count, by: 32) where folder[start] != 0 {
      let attributes = folder[start + 11]
      if attributes == 0x0f {
        let places = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30]
        long = places.map { UInt16(Self.number(folder, start + $0, 2)) } + long
        continue
      }
      if attributes & 0x08 != 0 { continue }
      func part(_ range: Range<Int>, isSmall: Bool) -> String {
        let text = String(decoding: folder[start + range.lowerBound..<start + range.upperBound], as: UTF8.self)
          .trimmingCharacters(in: .whitespaces)
        return isSmall ? text.lowercased() : text
      }
      let cases = folder[start + 12]
      let suffix = part(8..<11, isSmall: cases & 0x10 != 0)
      let short = part(0..<8, isSmall: cases & 0x08 != 0) + (suffix.isEmpty ? "" : ".\(suffix)")
      let name =
        long.isEmpty ? short : String(decoding: long.prefix { $0 != 0 && $0 != 0xffff }, as: UTF16.self)
      long = []
      let cluster = Self.number(folder, start + 20, 2) << 16 | Self.number(folder, start + 26, 2)
      let size = Self.number(folder, start + 28, 4)
      files[name] = cluster == 0 ? [] : Array(try chain(from: cluster).prefix(size))
    }
    return files
  }
}

@Suite struct CardImages {
  private func card(_ files: [String: [UInt8]]) throws -> CardReader {
    let list = files.sorted { $0.key < $1.key }.map { CardImage.File(name: $0.key, contents: Data($0.value)) }
    return try CardReader(CardImage(list).bytes)
  }

  @Test func `A reader finds every file of a card, whatever its size and its name`() throws {
    var files = [String: [UInt8]]()
    for (index, size) in [0, 1, 511, 512, 513, 70_000].enumerated() {
      files["file\(index).bin"] = (0..<size).map { UInt8(truncatingIfNeeded: $0 * 7 + index) }
    }
    files["bcm2710-rpi-3-b.dtb"] = [1, 2, 3]
    files["thirteen-char"] = [4]
    files["CAPITALS.TXT"] = [5]
    files["Mixed.Txt"] = [6]
    files["no-suffix"] = [7]
    #expect(try card(files).files() == files)
  }

  @Test func `A folder of many files takes several clusters`() throws {
    let files = Dictionary(
      uniqueKeysWithValues: (0..<100).map { ("a rather long name".filter { $0 != " " } + "\($0)", [UInt8($0)]) }
    )
    #expect(try card(files).files() == files)
  }

  @Test func `Both tables are the same, and there are clusters enough for FAT32`() throws {
    let reader = try card(["kernel8.img": [1]])
    #expect(reader.clusterCount >= 65_525 && reader.fatBytes >= 4 * (reader.clusterCount + 2))
    let tables = reader.bytes[reader.firstFAT..<reader.firstFAT + 2 * reader.fatBytes]
    #expect(Array(tables.prefix(reader.fatBytes)) == Array(tables.suffix(reader.fatBytes)))
    // The backup of the boot sector, and the count of free clusters: all but one of the folder and one of the file.
    let boot = Array(reader.bytes[reader.partition..<reader.partition + 512])
    #expect(Array(reader.bytes[reader.partition + 6 * 512..<reader.partition + 7 * 512]) == boot)
    #expect(reader.field(512 + 488, 4) == reader.clusterCount - 2)
  }

  @Test func `What does not fit, or has no possible name, is refused`() {
    let error = #expect(throws: CardImageError.self) {
      try CardImage([CardImage.File(name: "big", contents: Data(count: 64 << 20))])
    }
    #expect(error?.description == "the files do not fit on a card of 64 MiB")
    for name in ["", ".", "a/b", "a:b", "\u{e9}", String(repeating: "x", count: 256)] {
      #expect(throws: CardImageError.self) { try CardImage([CardImage.File(name: name, contents: Data([1]))]) }
    }
  }
}
