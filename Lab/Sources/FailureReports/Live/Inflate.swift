// Decompression of DEFLATE data (RFC 1951), for /proc/config.gz.

/// Unpacks gzip files that are small enough to be in memory.
struct Inflate {
  private let input: [UInt8]
  private var index: Int
  private var bits: UInt32 = 0
  private var bitCount: UInt32 = 0
  private var output: [UInt8] = []

  private static let greatestOutput = 16 << 20

  /// The contents of a gzip file (RFC 1952), or `nil` if it is damaged.
  static func gunzip(_ file: [UInt8]) -> [UInt8]? {
    guard file.count > 18, file[0] == 0x1f, file[1] == 0x8b, file[2] == 8 else { return nil }
    let flags = file[3]
    var start = 10
    if flags & 4 != 0 {
      guard start + 2 <= file.count else { return nil }
      start += 2 + Int(file[start]) + Int(file[start + 1]) << 8
    }
    // A name and a comment, each ended by a zero.
    for flag in [8, 16] as [UInt8] where flags & flag != 0 {
      guard start < file.count, let end = file[start...].firstIndex(of: 0) else { return nil }
      start = end + 1
    }
    if flags & 2 != 0 { start += 2 }
    guard start < file.count else { return nil }
    var inflate = Inflate(input: file, index: start)
    return inflate.run() ? inflate.output : nil
  }

  private init(input: [UInt8], index: Int) {
    self.input = input
    self.index = index
  }

  private mutating func run() -> Bool {
    while true {
      guard let isLast = take(1), let kind = take(2) else { return false }
      let isGood =
        switch kind {
        case 0: copyStored()
        case 1: decode(Self.fixedLiterals, Self.fixedDistances)
        case 2: decodeDynamic()
        default: false
        }
      if !isGood || output.count > Self.greatestOutput { return false }
      if isLast == 1 { return true }
    }
  }

  private mutating func take(_ count: UInt32) -> UInt32? {
    while bitCount < count {
      guard index < input.count else { return nil }
      bits |= UInt32(input[index]) << bitCount
      bitCount += 8
      index += 1
    }
    let value = bits & (1 << count - 1)
    bits >>= count
    bitCount -= count
    return value
  }

  private mutating func copyStored() -> Bool {
    bits = 0
    bitCount = 0
    guard index + 4 <= input.count else { return false }
    let length = Int(input[index]) | Int(input[index + 1]) << 8
    index += 4
    guard index + length <= input.count else { return false }
    output += input[index..<index + length]
    index += length
    return true
  }

  /// A canonical Huffman code: how many codes each length has, and their symbols in order.
  private struct Code {
    var counts = [UInt16](repeating: 0, count: 16)
    var symbols: [UInt16] = []

    init(_ lengths: [UInt8]) {
      for length in 1...15 as ClosedRange<UInt8> {
        for (symbol, own) in lengths.enumerated() where own == length {
          counts[Int(length)] += 1
          symbols.append(UInt16(symbol))
        }
      }
    }
  }

  private static let fixedLiterals = Code(
    [UInt8](repeating: 8, count: 144) + [UInt8](repeating: 9, count: 112) + [UInt8](repeating: 7, count: 24)
      + [UInt8](repeating: 8, count: 8))
  private static let fixedDistances = Code([UInt8](repeating: 5, count: 30))

  private mutating func symbol(_ code: Code) -> Int? {
    var value = 0
    var first = 0
    var place = 0
    for length in 1...15 {
      guard let bit = take(1) else { return nil }
      value |= Int(bit)
      let count = Int(code.counts[length])
      if value - first < count { return Int(code.symbols[place + value - first]) }
      place += count
      first = (first + count) << 1
      value <<= 1
    }
    return nil
  }

  private static let lengthBases = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
    227, 258,
  ]
  private static let lengthBits: [UInt32] = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
  ]
  private static let distanceBases = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097,
    6145,
    8193, 12289, 16385, 24577,
  ]

  private mutating func decode(_ literals: Code, _ distances: Code) -> Bool {
    while true {
      guard let symbol = symbol(literals), output.count <= Self.greatestOutput else { return false }
      if symbol < 256 {
        output.append(UInt8(symbol))
        continue
      }
      if symbol == 256 { return true }
      guard symbol - 257 < Self.lengthBases.count, let more = take(Self.lengthBits[symbol - 257]),
        let far = self.symbol(distances), far < Self.distanceBases.count,
        let further = take(far < 2 ? 0 : UInt32(far / 2 - 1))
      else { return false }
      let length = Self.lengthBases[symbol - 257] + Int(more)
      let distance = Self.distanceBases[far] + Int(further)
      guard distance <= output.count else { return false }
      for _ in 0..<length { output.append(output[output.count - distance]) }
    }
  }

  private static let lengthOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

  private mutating func decodeDynamic() -> Bool {
    guard let literalCount = take(5), let distanceCount = take(5), let lengthCount = take(4) else {
      return false
    }
    var lengths = [UInt8](repeating: 0, count: 19)
    for place in 0..<Int(lengthCount) + 4 {
      guard let length = take(3) else { return false }
      lengths[Self.lengthOrder[place]] = UInt8(length)
    }
    let code = Code(lengths)
    let total = Int(literalCount) + 257 + Int(distanceCount) + 1
    var all: [UInt8] = []
    while all.count < total {
      guard let symbol = symbol(code) else { return false }
      switch symbol {
      case 0..<16: all.append(UInt8(symbol))
      case 16:
        guard let last = all.last, let more = take(2) else { return false }
        all += [UInt8](repeating: last, count: Int(more) + 3)
      case 17:
        guard let more = take(3) else { return false }
        all += [UInt8](repeating: 0, count: Int(more) + 3)
      default:
        guard let more = take(7) else { return false }
        all += [UInt8](repeating: 0, count: Int(more) + 11)
      }
    }
    guard all.count == total else { return false }
    let literals = Int(literalCount) + 257
    return decode(Code(Array(all[..<literals])), Code(Array(all[literals...])))
  }
}
