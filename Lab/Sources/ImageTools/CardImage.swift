// The image of an SD card with one FAT32 partition, as a Raspberry Pi's firmware boots from.
//
//   0         1 MiB                                                                           64 MiB
//   +-----+---+------+--------+-- … --+------+-- … --+-----+-----------+-------------------------+
//   | MBR |   | boot | FSInfo |       | boot |       | FAT | FAT again | clusters 2, 3, …        |
//   +-----+---+------+--------+-- … --+------+-- … --+-----+-----------+-------------------------+
//             sector 0   1                6           32                 a sector each
//
// Each file has clusters that follow each other, in the order of the files; the root folder comes first.
//
// Source: Microsoft, "FAT: General Overview of On-Disk Format", version 1.03.

import Foundation

/// Why there is no image, in one line.
public struct CardImageError: Error, Equatable, CustomStringConvertible {
  /// The reason.
  public let description: String
}

/// The image of an SD card.
public struct CardImage {
  /// A file in the root folder.
  public struct File {
    /// Its name: 1 to 255 ASCII characters.
    public var name: String
    /// Its contents.
    public var contents: Data

    /// A file.
    public init(name: String, contents: Data) {
      self.name = name
      self.contents = contents
    }
  }

  /// The size of the card in bytes: a power of two, as QEMU's cards have.
  public static let byteCount = 64 << 20
  /// Where the partition begins, in bytes.
  public static let partitionOffset = 1 << 20

  private static let sector = 512
  private static let entry = 32
  private static let reserved = 32
  private static let sectors = (byteCount - partitionOffset) / sector
  // A FAT has 128 entries in a sector: one for each cluster, and two before the first.
  private static let fatSectors = (sectors - reserved + 2 + 129) / 130
  private static let clusters = sectors - reserved - 2 * fatSectors

  /// The card's bytes.
  public private(set) var bytes = [UInt8](repeating: 0, count: Self.byteCount)
  private var nextCluster = 2

  /// Makes the image of a card.
  ///
  /// - Throws: ``CardImageError`` if the files do not fit, or a name is none.
  public init(_ files: [File]) throws(CardImageError) {
    // The label of the volume is the first entry, and an empty one ends the folder.
    var folder = Self.shortEntry("KERNELSTACK", attributes: 0x08, case: 0, cluster: 0, size: 0)
    var folderBytes = 2 * Self.entry
    for (index, file) in files.enumerated() {
      folderBytes += try Self.entries(of: file.name, number: index, cluster: 0, size: 0).count
    }
    let root = try reserve(folderBytes)
    for (index, file) in files.enumerated() {
      let cluster = file.contents.isEmpty ? 0 : try reserve(file.contents.count)
      folder += try Self.entries(of: file.name, number: index, cluster: cluster, size: file.contents.count)
      if cluster > 0 { store(file.contents, at: Self.offset(ofCluster: cluster)) }
    }
    store(folder, at: Self.offset(ofCluster: root))
    storePartitionTable()
    storeBootSectors(root: root)
  }

  // MARK: Parts of the partition

  private static func offset(ofCluster cluster: Int) -> Int {
    partitionOffset + (reserved + 2 * fatSectors + cluster - 2) * sector
  }

  /// Takes the next clusters for so many bytes, and chains them in both FATs; returns the first.
  private mutating func reserve(_ byteCount: Int) throws(CardImageError) -> Int {
    let count = (byteCount + Self.sector - 1) / Self.sector
    let first = nextCluster
    guard count <= Self.clusters - (first - 2) else {
      throw CardImageError(description: "the files do not fit on a card of \(Self.byteCount >> 20) MiB")
    }
    nextCluster += count
    for cluster in first..<nextCluster {
      chain(cluster, to: cluster + 1 < nextCluster ? cluster + 1 : 0x0fff_ffff)
    }
    return first
  }

  private mutating func chain(_ cluster: Int, to next: Int) {
    for copy in 0..<2 {
      let fat = Self.partitionOffset + (Self.reserved + copy * Self.fatSectors) * Self.sector
      store(number(next, 4), at: fat + 4 * cluster)
    }
  }

  private mutating func storePartitionTable() {
    // Not bootable by a PC; FAT32 by sector numbers, so that cylinders and heads say nothing.
    let unused: [UInt8] = [0xfe, 0xff, 0xff]
    let partition =
      [0] + unused + [0x0c] + unused + number(Self.partitionOffset / Self.sector, 4) + number(Self.sectors, 4)
    store(partition, at: 446)
    store([0x55, 0xaa], at: 510)
  }

  private mutating func storeBootSectors(root: Int) {
    chain(0, to: 0x0fff_fff8)
    chain(1, to: 0x0fff_ffff)
    var boot: [UInt8] = [0xeb, 0x58, 0x90] + Array("KSTACKS ".utf8)
    boot += number(Self.sector, 2) + [1] + number(Self.reserved, 2) + [2] + number(0, 4) + [0xf8]
    boot += number(0, 2) + number(63, 2) + number(255, 2)
    boot += number(Self.partitionOffset / Self.sector, 4) + number(Self.sectors, 4)
    boot += number(Self.fatSectors, 4) + number(0, 4) + number(root, 4) + number(1, 2) + number(6, 2)
    boot += [UInt8](repeating: 0, count: 12) + [0x80, 0, 0x29] + number(0x4b53_0001, 4)
    boot += Array("KERNELSTACKFAT32   ".utf8)
    let free = Self.clusters - (nextCluster - 2)
    for copy in [0, 6] {
      let start = Self.partitionOffset + copy * Self.sector
      store(boot, at: start)
      store([0x55, 0xaa], at: start + 510)
      let info = start + Self.sector
      store(number(0x4161_5252, 4), at: info)
      store(number(0x6141_7272, 4) + number(free, 4) + number(nextCluster, 4), at: info + 484)
      store([0x55, 0xaa], at: info + 510)
    }
  }

  private mutating func store(_ value: some Collection<UInt8>, at offset: Int) {
    bytes.replaceSubrange(offset..<offset + value.count, with: value)
  }

  // MARK: Entries of a folder

  /// The entries of a file: one, and before it those of a name that is not short.
  private static func entries(
    of name: String, number: Int, cluster: Int, size: Int
  ) throws(CardImageError) -> [UInt8] {
    let characters = Array(name.utf8)
    let isPossible = characters.allSatisfy { (33...126).contains($0) && !"\"*/:<>?\\|".utf8.contains($0) }
    guard isPossible, (1...255).contains(characters.count), name != ".", name != ".." else {
      throw CardImageError(description: "`\(name)` is no name of a file on the card")
    }
    if let short = ShortName(name) {
      return shortEntry(short.text, attributes: 0x20, case: short.cases, cluster: cluster, size: size)
    }
    let digits = "\(number)"
    let short = "FILE" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits + "   "
    let checksum = short.utf8.reduce(UInt8(0)) { ($0 & 1) << 7 &+ ($0 >> 1) &+ $1 }
    // 13 characters in each, the last ones first.
    var units = characters.map { UInt16($0) }
    if units.count % 13 != 0 {
      units.append(0)
      while units.count % 13 != 0 { units.append(0xffff) }
    }
    var result: [UInt8] = []
    for part in (0..<units.count / 13).reversed() {
      let text = units[13 * part..<13 * part + 13].flatMap { [UInt8($0 & 0xff), UInt8($0 >> 8)] }
      let order = UInt8(part + 1) | (13 * (part + 1) == units.count ? 0x40 : 0)
      result += [order] + text[0..<10] + [0x0f, 0, checksum] + text[10..<22] + [0, 0] + text[22..<26]
    }
    return result + shortEntry(short, attributes: 0x20, case: 0, cluster: cluster, size: size)
  }

  private static func shortEntry(
    _ name: String, attributes: UInt8, case: UInt8, cluster: Int, size: Int
  ) -> [UInt8] {
    // 1 January 1980: so the same files make the same image.
    let date: [UInt8] = [0x21, 0]
    return Array(name.utf8) + [attributes, `case`, 0, 0, 0] + date + date + number(cluster >> 16, 2) + [0, 0]
      + date + number(cluster & 0xffff, 2) + number(size, 4)
  }
}

/// A name of eight characters and three, each part in one case.
private struct ShortName {
  /// The eleven characters of the entry, in capitals.
  let text: String
  /// Which part is in small letters: bit 3 the first, bit 4 the other.
  let cases: UInt8

  init?(_ name: String) {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), (1...8).contains(parts[0].count) else { return nil }
    let suffix = parts.count == 2 ? String(parts[1]) : ""
    guard parts.count == 1 || (1...3).contains(suffix.count) else { return nil }
    var cases: UInt8 = 0
    var text = ""
    for (part, length, bit) in [(String(parts[0]), 8, UInt8(0x08)), (suffix, 3, 0x10)] {
      guard part.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 || 0x40 < $0 && $0 < 0x7b }),
        !part.contains(where: { "[\\]^`".contains($0) }), part == part.uppercased() || part == part.lowercased()
      else { return nil }
      if part != part.uppercased() { cases |= bit }
      text += part.uppercased() + String(repeating: " ", count: length - part.count)
    }
    self.text = text
    self.cases = cases
  }
}

/// A number in so many bytes, the lowest first.
private func number(_ value: Int, _ byteCount: Int) -> [UInt8] {
  (0..<byteCount).map { UInt8(value >> (8 * $0) & 0xff) }
}
