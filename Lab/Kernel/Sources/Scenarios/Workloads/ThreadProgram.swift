// What threads of the kernel do, by seed: a sequence of actions, the same on every machine.
//
// A machine carries the actions out: as calls on the thread's own stack, or as accesses in its name. It tells how many
// bytes are left on the stack; the program goes down and comes back, and never further than the stack reaches.
//
//      depth 0 --enter--> 1 --enter--> 2 --leave--> 1 --enter--> 2 --leave--> 1 --leave--> 0 --end
//              sleep             yield        ensure            sleep

import SeededRandom

/// What a thread does next.
public enum ThreadAction: Equatable, Sendable {
  /// Enters a frame: its words are filled with what ``ThreadFrame`` says.
  case enter(ThreadFrameSize)
  /// Verifies the words of the frame that was entered last and has not been left, and leaves it.
  case leave
  /// Lets others run.
  case yield
  /// Sleeps until it is woken.
  case sleep
  /// Makes sure that the next bytes below the stack pointer take no fault, and uses the lowest of them; then lets others
  /// run, or sleeps, and finds that it is as it was.
  case ensure(bytes: Int, sleeps: Bool)
  /// Leaves the stack at its lower end.
  case overflow
  /// Ends; all frames have been left.
  case end
}

/// What a thread's actions are drawn from.
public enum ThreadProgramKind: UInt8, Sendable {
  /// One small frame: yields, sleeps, ends.
  case rest
  /// Goes up and down, to random depths, and yields and sleeps on the way.
  case wander
  /// Goes down once, as deep as threads of real machines do, and sleeps there and at the top.
  case dive
  /// Goes down to a random depth and all the way back, again and again; yields below, and sleeps only at the top.
  case surge
  /// Goes up and down, to random depths, and yields; the first thread, and one of three others, overflows on the way.
  case reckless
  /// Goes down to the end of its stack and sleeps there, with nothing dead below.
  case sink
  /// Goes down as ``dive`` does, and sleeps there; then, twice, takes turns and sleeps.
  case turns
}

/// The actions of one thread.
public struct ThreadProgram: Sendable {
  private let kind: ThreadProgramKind
  private var random: SplitMix64
  private var phase = Phase.down
  /// How many frames have been entered and not left.
  public private(set) var depth = 0
  /// How many frames are left before it turns and goes down again.
  private var floor = 0
  /// How many bytes are left where it turns; negative: not chosen yet.
  private var goal = -1
  private var roundsLeft: Int
  private var step = 0
  /// How many steps of turns are left, where it takes turns: three for each turn and one for a sleep, twice.
  private var turnSteps = 0
  /// How many actions are left before it overflows; negative: it does not.
  private var actionsToOverflow = -1

  private enum Phase: UInt8 {
    case down
    case up
    case asleep
    case over
  }

  /// The actions of thread `number`.
  ///
  /// - Parameters:
  ///   - kind: what they are drawn from.
  ///   - seed: the seed that all threads share.
  ///   - number: the thread's own.
  public init(_ kind: ThreadProgramKind, seed: UInt64, number: Int) {
    self.kind = kind
    var random = SplitMix64(seed: seed)
    random.state = random.next() &+ UInt64(truncatingIfNeeded: number) &* 0xd134_2543_de82_ef95
    roundsLeft =
      switch kind {
      case .rest, .dive, .sink, .turns: 1
      case .wander, .reckless: 1 + random.next(below: 4)
      case .surge: 2 + random.next(below: 3)
      }
    if kind == .turns { turnSteps = 2 * (3 * Self.turns + 1) }
    if kind == .reckless, number == 0 || random.next(below: 3) == 0 {
      actionsToOverflow = random.next(below: 24)
      // It does not end before.
      roundsLeft = 32
    }
    self.random = random
  }

  /// How many turns a thread takes between two sleeps.
  public static var turns: Int { 8 }

  /// What a machine keeps of a stack for itself: room for what it calls below a frame.
  public static var margin: Int { 1536 }

  /// The next action.
  ///
  /// - Parameter bytesLeft: how many bytes of the stack lie below the stack pointer.
  public mutating func next(bytesLeft: Int) -> ThreadAction {
    if actionsToOverflow == 0 { return .overflow }
    actionsToOverflow -= actionsToOverflow > 0 ? 1 : 0
    if turnSteps > 0, phase == .up { return nextOfTurn(bytesLeft) }
    return kind == .rest ? nextOfRest() : nextOfDescent(bytesLeft)
  }

  private mutating func nextOfRest() -> ThreadAction {
    step += 1
    switch step {
    case 1:
      depth = 1
      return .enter(.small)
    case 2: return .yield
    case 3: return .sleep
    case 4:
      depth = 0
      return .leave
    default: return .end
    }
  }

  /// Enters a frame, leaves it and lets others run; near the end of the stack only the last.
  private mutating func nextOfTurn(_ bytesLeft: Int) -> ThreadAction {
    turnSteps -= 1
    let step = turnSteps % (3 * Self.turns + 1)
    if step == 0 { return .sleep }
    switch step % 3 {
    case 0:
      guard bytesLeft - ThreadFrameSize.medium.byteCount - ThreadFrameSize.overhead >= Self.margin else {
        turnSteps -= 2
        return .yield
      }
      depth += 1
      return .enter(.medium)
    case 2:
      depth -= 1
      return .leave
    default: return .yield
    }
  }

  private mutating func nextOfDescent(_ bytesLeft: Int) -> ThreadAction {
    if goal < 0 { chooseGoal(bytesLeft) }
    while true {
      switch phase {
      case .down:
        if let pause = pause(bytesLeft) { return pause }
        let size = frameSize()
        if bytesLeft - size.byteCount - ThreadFrameSize.overhead >= max(goal, Self.margin) {
          depth += 1
          return .enter(size)
        }
        turn()
        return kind == .dive || kind == .sink || kind == .turns ? .sleep : .yield
      case .up:
        if depth > floor {
          if let pause = pause(bytesLeft) { return pause }
          depth -= 1
          return .leave
        }
        roundsLeft -= 1
        phase = roundsLeft > 0 ? .down : .over
        if kind == .surge || roundsLeft == 0 && kind == .dive {
          if phase == .down { phase = .asleep }
          return .sleep
        }
        chooseGoal(bytesLeft)
      case .asleep:
        phase = .down
        chooseGoal(bytesLeft)
      case .over:
        return .end
      }
    }
  }

  /// Turns back: all the way, or where it is to go down again.
  private mutating func turn() {
    phase = .up
    floor =
      (kind == .wander || kind == .reckless) && roundsLeft > 1 && depth > 0 ? random.next(below: depth) : 0
  }

  private mutating func chooseGoal(_ bytesLeft: Int) {
    switch kind {
    case .dive, .turns:
      // See StackDepths: 97 of 100 stay within the first page, what the machine calls below included.
      let inFirstPage = bytesLeft % 4096
      let spare = 1024 + (inFirstPage > 1024 ? random.next(below: inFirstPage - 1024) : 0)
      goal = random.next(below: 100) < 97 ? bytesLeft - inFirstPage + spare : 0
    case .sink: goal = 0
    default: goal = random.next(below: bytesLeft)
    }
  }

  /// Now and then something else on the way.
  private mutating func pause(_ bytesLeft: Int) -> ThreadAction? {
    guard kind == .wander || kind == .surge || kind == .reckless else { return nil }
    let drawn = random.next(below: 64)
    if drawn == 0, kind == .wander { return .sleep }
    if drawn < 3 { return .yield }
    // More than what the machine calls below the stack pointer: it must not be disturbed by that.
    let room = bytesLeft - 2 * Self.margin
    guard drawn == 3, room > 0 else { return nil }
    let bytes = (Self.margin + random.next(below: room)) & ~15
    return .ensure(bytes: bytes, sleeps: kind == .wander && random.next(below: 2) == 0)
  }

  private mutating func frameSize() -> ThreadFrameSize {
    let drawn = random.next(below: 8)
    return drawn == 0 ? .large : drawn < 3 ? .medium : .small
  }
}

/// How large a frame of a thread is.
public enum ThreadFrameSize: UInt8, Sendable {
  /// 64 bytes.
  case small
  /// 320 bytes.
  case medium
  /// 1,024 bytes.
  case large

  /// How many words it has.
  public var wordCount: Int {
    switch self {
    case .small: 8
    case .medium: 40
    case .large: 128
    }
  }

  /// How many bytes its words take.
  public var byteCount: Int { wordCount * 8 }

  /// What a call takes of the stack besides the words, at most.
  public static var overhead: Int { 384 }
}

/// What the words of a frame hold: told by their owner, the frame's depth and their place in it.
public struct ThreadFrame: Sendable {
  private let origin: UInt64

  /// The frame at a depth of a thread's stack.
  public init(owner: Int, depth: Int) {
    origin = UInt64(truncatingIfNeeded: owner) &<< 24 &+ UInt64(truncatingIfNeeded: depth) &<< 8 &+ 1
  }

  /// A word of it.
  @inline(__always) public func word(_ index: Int) -> UInt64 {
    (origin &+ UInt64(truncatingIfNeeded: index)) &* 0x9e37_79b9_7f4a_7c15
  }
}
