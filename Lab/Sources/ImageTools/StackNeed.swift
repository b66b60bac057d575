// The stack memory that a function needs with all that it calls: who calls on a stack of known size can compare.
//
// It is read from a linked file. A function's frame is the most by which it lowers the stack pointer; a call comes on top of
// the whole frame; a jump into another function comes on top of what is lowered there, which is nothing after an epilogue.
// What is called by a register is not known, and not counted.

/// The stack memory that the functions of a linked file need.
public struct StackNeed: Sendable {
  /// The calls that need most.
  public struct Chain: Equatable, Sendable {
    /// The bytes that all its frames take.
    public var byteCount: Int
    /// The functions, from the first to the innermost.
    public var functions: [String]
  }

  /// The reason why a need has no bound that could be read.
  public enum Unknown: Error, Equatable, CustomStringConvertible {
    /// The file has no such function.
    case noFunction(String)
    /// A function calls itself, through others or not.
    case recursion(String)
    /// A frame's size is known only at run time.
    case frameOfUnknownSize(String)

    /// The error in one line.
    public var description: String {
      switch self {
      case .noFunction(let name): "there is no function \(name)"
      case .recursion(let name): "\(name) calls itself: its need of stack has no bound"
      case .frameOfUnknownSize(let name): "\(name) has a stack frame of a size known only at run time"
      }
    }
  }

  private struct Function {
    var name: String
    var frame = 0
    var hasUnknownFrame = false
    /// Where it calls or jumps to, and how many bytes are on the stack then.
    var calls: [(target: UInt64, depth: Int)] = []
    var goesByRegister = false
  }

  private let functions: [Function]
  private let numberByAddress: [UInt64: Int]
  private let numberByName: [String: Int]

  /// Reads all code of a file.
  public init(_ file: ElfFile) {
    var functions: [Function] = []
    var byAddress: [UInt64: Int] = [:]
    var jumps: [(from: Int, target: UInt64, depth: Int)] = []
    var depth = 0
    file.forEachCodeWord { code in
      if code.isFirst {
        functions.append(Function(name: code.function))
        depth = 0
      }
      let number = functions.count - 1
      byAddress[code.address] = number
      switch StackPointerEffect(decoding: code.word) {
      case .none: break
      case .restores: depth = 0
      case .lowersByRegister: functions[number].hasUnknownFrame = true
      case .lowers(let bytes):
        depth += bytes
        functions[number].frame = max(functions[number].frame, depth)
      }
      switch Branch(decoding: code.word) {
      case .call(let distance):
        functions[number].calls.append((code.address &+ UInt64(bitPattern: Int64(distance)), -1))
      case .jump(let distance):
        jumps.append((number, code.address &+ UInt64(bitPattern: Int64(distance)), depth))
      case .callByRegister, .jumpByRegister: functions[number].goesByRegister = true
      case nil: break
      }
    }
    for jump in jumps where byAddress[jump.target] != jump.from {
      functions[jump.from].calls.append((jump.target, jump.depth))
    }
    for number in functions.indices {
      let frame = functions[number].frame
      functions[number].calls = functions[number].calls.map { ($0.target, $0.depth < 0 ? frame : $0.depth) }
    }
    self.functions = functions
    numberByAddress = byAddress
    numberByName = Dictionary(
      functions.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// The functions that call what a register names: it is not part of any need.
  public var callersByRegister: [String] { functions.filter(\.goesByRegister).map(\.name) }

  /// The need of a function, and the calls that make it.
  ///
  /// - Throws: ``Unknown`` when it has no bound.
  /// - Complexity: O(functions and calls that can be reached).
  public func chain(of function: String) throws(Unknown) -> Chain {
    guard let number = numberByName[function] else { throw .noFunction(function) }
    var known: [Int: Chain] = [:]
    var open: Set<Int> = []
    return try chain(of: number, &known, &open)
  }

  private func chain(
    of number: Int, _ known: inout [Int: Chain], _ open: inout Set<Int>
  ) throws(Unknown) -> Chain {
    if let chain = known[number] { return chain }
    let function = functions[number]
    guard open.insert(number).inserted else { throw .recursion(function.name) }
    if function.hasUnknownFrame { throw .frameOfUnknownSize(function.name) }
    var most = Chain(byteCount: function.frame, functions: [function.name])
    for call in function.calls {
      guard let target = numberByAddress[call.target] else { continue }
      let called = try chain(of: target, &known, &open)
      if call.depth + called.byteCount > most.byteCount {
        most = Chain(byteCount: call.depth + called.byteCount, functions: [function.name] + called.functions)
      }
    }
    open.remove(number)
    known[number] = most
    return most
  }
}
