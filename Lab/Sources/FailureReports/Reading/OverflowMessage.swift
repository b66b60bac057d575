// Messages about kernel stacks that overflow.

/// Reads the messages of a kernel that has run past the end of a stack.
struct OverflowMessage {
  /// What a message tells.
  enum Fact {
    /// An overflow, and where the message says so.
    case begin(place: Int)
    case fault(UInt64)
    case stack(Range<UInt64>)
    case process(String)
  }

  private let guardHit =
    /guard page was hit at (?<address>[0-9a-f]+) \(stack is (?<low>[0-9a-f]+)\.\.(?<high>[0-9a-f]+)\)/
  private let taskStack = /Task stack:\s*\[0x(?<low>[0-9a-f]+)\.\.0x(?<high>[0-9a-f]+)\]/
  private let faultAddress = /FAR:\s*0x(?<address>[0-9a-f]+)/
  private let command = /CPU:\s*\d+ (?:UID: \d+ )?PID:\s*\d+ Comm:\s*(?<name>\S+)/

  /// The facts in a message, in order.
  func read(_ text: TextLine) -> [Fact] {
    let bytes = text.bytes
    if let place = bytes.offset(of: "guard page was hit") {
      let string = String(decoding: bytes, as: UTF8.self)
      guard let match = string.firstMatch(of: guardHit)?.output else { return [.begin(place: place)] }
      var facts: [Fact] = [.begin(place: place)]
      if let address = UInt64(match.address, radix: 16) { facts.append(.fault(address)) }
      if let low = UInt64(match.low, radix: 16), let high = UInt64(match.high, radix: 16), low < high {
        facts.append(.stack(low..<high &+ (high & 0xfff == 0xfff ? 1 : 0)))
      }
      return facts
    }
    if let place = Self.announcement(bytes) { return [.begin(place: place)] }
    if bytes.contains("Task stack:") {
      let string = String(decoding: bytes, as: UTF8.self)
      if let match = string.firstMatch(of: taskStack)?.output, let low = UInt64(match.low, radix: 16),
        let high = UInt64(match.high, radix: 16), low < high
      {
        return [.stack(low..<high)]
      }
    }
    if bytes.contains("FAR:") {
      let string = String(decoding: bytes, as: UTF8.self)
      if let match = string.firstMatch(of: faultAddress)?.output, let address = UInt64(match.address, radix: 16)
      {
        return [.fault(address)]
      }
    }
    if bytes.contains("Comm:") {
      let string = String(decoding: bytes, as: UTF8.self)
      if let name = string.firstMatch(of: command)?.output.name { return [.process(String(name))] }
    }
    return []
  }

  /// Where a message says that a stack has overflowed.
  private static func announcement(_ bytes: [UInt8]) -> Int? {
    let phrases: [StaticString] = [
      "Insufficient stack space to handle exception", "has overflown the kernel stack", "Thread overran stack",
      "corrupted stack end detected", "low stack detected by irq handler", "Bad kernel stack pointer",
    ]
    for phrase in phrases { if let place = bytes.offset(ofPhrase: phrase) { return place } }
    guard let place = bytes.offset(of: "stack overflow"),
      bytes.contains("ernel stack overflow") || bytes.contains("do_IRQ")
    else { return nil }
    return place
  }
}
