// Reading options from text: blank-separated `key=value`.

import ByteText
import KernelStacks

extension ScenarioOptions {
  /// Reads options from a command line such as `scenario=fork-churn seed=7`.
  ///
  /// - Parameter commandLine: blank-separated `key=value`; may end in a zero byte.
  public init(parsing commandLine: UnsafeRawBufferPointer) throws(ScenarioOptionError) {
    self.init()
    var index = 0
    while index < commandLine.count, commandLine[index] != 0 {
      if Self.isBlank(commandLine[index]) {
        index += 1
        continue
      }
      let start = index
      while index < commandLine.count, commandLine[index] != 0, !Self.isBlank(commandLine[index]) { index += 1 }
      try set(UnsafeRawBufferPointer(rebasing: commandLine[start..<index]))
    }
    try validate()
  }

  private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0a }

  private mutating func set(_ word: UnsafeRawBufferPointer) throws(ScenarioOptionError) {
    var equals = 0
    while equals < word.count, word[equals] != UInt8(ascii: "=") { equals += 1 }
    guard equals < word.count else { throw .noValue(ShortText(word)) }
    let key = UnsafeRawBufferPointer(rebasing: word[..<equals])
    let value = UnsafeRawBufferPointer(rebasing: word[(equals + 1)...])
    guard let option = firstCase(of: ScenarioOption.self, where: { key.equals($0.name) }) else {
      throw .unknownOption(ShortText(key))
    }
    try set(option, to: value)
  }

  /// Sets one option from its text.
  public mutating func set(
    _ option: ScenarioOption, to value: UnsafeRawBufferPointer
  ) throws(ScenarioOptionError) {
    let number = Self.number(value)
    // In each case: the value if it is one that the option takes.
    func accepted(_ range: ClosedRange<Int>) throws(ScenarioOptionError) -> Int {
      guard let number, number <= UInt64(Int.max), range.contains(Int(number)) else {
        throw .badValue(option: option, value: ShortText(value))
      }
      return Int(number)
    }
    switch option {
    case .scenario:
      guard let name = ScenarioName(named: value) else { throw .unknownScenario(ShortText(value)) }
      scenario = name
    case .strategy:
      if value.equals("linear") {
        strategy = .linear
      } else if value.equals("vmalloc") {
        strategy = .vmalloc
      } else if value.equals("growing") {
        strategy = .growing
      } else {
        throw .badValue(option: option, value: ShortText(value))
      }
    case .seed:
      guard let number else { throw .badValue(option: option, value: ShortText(value)) }
      seed = number
    case .memory:
      memoryBytes = try accepted(1 << 20...1 << 40)
    case .cpus:
      cpuCount = try accepted(1...64)
    case .numaNodes:
      nodeCount = try accepted(1...8)
    case .virtualAddressBits:
      let bits = try accepted(39...48)
      guard bits == 39 || bits == 48 else { throw .badValue(option: option, value: ShortText(value)) }
      virtualAddressBits = bits
    case .stackSize:
      stackSize = try accepted(8192...24576)
      guard stackSize % pageSize == 0 else { throw .badValue(option: option, value: ShortText(value)) }
    case .largestFreeOrder:
      largestFreeOrder = try accepted(0...1)
    case .freeShare:
      freeSharePercent = try accepted(1...100)
    case .freeBlocks, .usableBlocks:
      guard let counts = BlockCounts(value), option == .usableBlocks || counts.frames > 0 else {
        throw .badValue(option: option, value: ShortText(value))
      }
      if option == .freeBlocks { freeBlocks = counts } else { usableBlocks = counts }
    case .depths:
      if value.equals("typical") {
        stackDepths = .typical
      } else if value.equals("full") {
        stackDepths = .full
      } else {
        throw .badValue(option: option, value: ShortText(value))
      }
    case .growth:
      if value.equals("fault") {
        growth = .onFault
      } else if value.equals("lent") {
        growth = .lent
      } else {
        throw .badValue(option: option, value: ShortText(value))
      }
    case .operations:
      operations = try accepted(1...Int(Int32.max))
    case .breakCondition:
      guard value.equals("yes") || value.equals("no") else {
        throw .badValue(option: option, value: ShortText(value))
      }
      breaksCondition = value.equals("yes")
    case .threads:
      threadCount = try accepted(1...100_000_000)
    }
  }

  /// Checks what one option says against the others.
  public func validate() throws(ScenarioOptionError) {
    if freeSharePercent > Self.largestFreeShare(order: largestFreeOrder) {
      throw .impossibleFreeShare(percent: freeSharePercent, largestFreeOrder: largestFreeOrder)
    }
    if let usableBlocks, !usableBlocks.isWithin(freeBlocks ?? BlockCounts()) { throw .moreUsableThanFree }
    if growth == .lent, strategy != .growing { throw .nothingToLend }
  }

  /// A decimal or `0x` hexadecimal number, with K, M or G for binary units; `nil` for anything else.
  public static func number(_ text: UnsafeRawBufferPointer) -> UInt64? {
    var digits = text
    var shift: UInt64 = 0
    if let last = text.last {
      switch last {
      case UInt8(ascii: "K"), UInt8(ascii: "k"): shift = 10
      case UInt8(ascii: "M"), UInt8(ascii: "m"): shift = 20
      case UInt8(ascii: "G"), UInt8(ascii: "g"): shift = 30
      default: break
      }
    }
    if shift > 0 { digits = UnsafeRawBufferPointer(rebasing: text.dropLast()) }
    var base: UInt64 = 10
    if digits.count > 2, digits[0] == UInt8(ascii: "0"), digits[1] == UInt8(ascii: "x") {
      base = 16
      digits = UnsafeRawBufferPointer(rebasing: digits.dropFirst(2))
    }
    if digits.count == 0 { return nil }
    var value: UInt64 = 0
    for byte in digits {
      let digit: UInt64
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = UInt64(byte - UInt8(ascii: "0"))
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = UInt64(byte - UInt8(ascii: "a") + 10)
      default: return nil
      }
      guard digit < base else { return nil }
      let (product, tooLarge) = value.multipliedReportingOverflow(by: base)
      let (sum, stillTooLarge) = product.addingReportingOverflow(digit)
      if tooLarge || stillTooLarge { return nil }
      value = sum
    }
    return value <= UInt64.max >> shift ? value << shift : nil
  }
}

extension ScenarioOptionError: TextDescribable {
  /// Writes the error in one line; an unknown name comes with the list of those there are.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .noValue(let word):
      word.write(to: &sink)
      sink.write(" is not of the form key=value")
    case .unknownOption(let key):
      sink.write("there is no option ")
      key.write(to: &sink)
      sink.write("; options:")
      _ = firstCase(of: ScenarioOption.self) { option in
        sink.write(byte: 0x20)
        sink.write(option.name)
        return false
      }
    case .unknownScenario(let name):
      sink.write("there is no scenario ")
      name.write(to: &sink)
      sink.write("; scenarios:")
      _ = firstCase(of: ScenarioName.self) { scenario in
        sink.write(byte: 0x20)
        sink.write(scenario.name)
        return false
      }
    case .badValue(let option, let value):
      sink.write(option.name)
      sink.write(" cannot be ")
      value.write(to: &sink)
      sink.write("; it takes ")
      sink.write(option.accepts)
    case .nothingToLend:
      sink.write("growth=lent is about growing stacks: strategy=growing")
    case .impossibleFreeShare(let percent, let order):
      sink.write("a free share of ")
      sink.write(percent)
      sink.write(" % would leave blocks above order ")
      sink.write(order)
      sink.write("; at most ")
      sink.write(ScenarioOptions.largestFreeShare(order: order))
      sink.write(" % can stay free")
    case .moreUsableThanFree:
      sink.write("usable-blocks cannot be more than free-blocks, of any order")
    }
  }
}
