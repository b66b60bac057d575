// One of many that use the stack allocator and the vmalloc area at once, and verify all that they own: a storm.
//
// It runs on any machine: as a thread of the kernel, on a simulated CPU, or as a thread of the host.
//
//     a stack that a worker owns             marks at three places of each page, told by owner, turn and address
//     +-------+-------+-------+-------+      - a page that is new to it reads as zero there
//     | empty | . . . | . . . | . . . |      - its marks stay until it frees the stack or lets the page go
//     +-------+-------+-------+-------+      - before that, it leaves poison, which no later owner may find

import KernelStacks
import SeededRandom

/// The memory of a machine, as code of the kernel reaches it, and its way out of memory pressure.
public protocol StormSurroundings {
  /// Reads a word.
  func load(_ address: VirtualAddress) -> UInt64
  /// Writes a word.
  func store(_ value: UInt64, to address: VirtualAddress)
  /// Gives back memory that is not in use: what allocators keep for speed, and what sleepers leave unused.
  func reclaim(target: Int)
  /// Takes an area of the vmalloc area.
  func allocateArea(byteCount: Int) throws(VmallocError) -> VirtualAddress
  /// Gives an area back.
  func freeArea(_ area: VirtualAddress) throws(VmallocError)
}

/// What a worker does in one step.
public enum StormOperation: UInt8, Sendable {
  case allocate
  case free
  case grow
  case shrink
  case reclaim
  case vmalloc
  case vfree
  case verify

  /// How many there are.
  public static var count: Int { 8 }
}

/// What has been done, and what was found wrong.
public struct StormFigures: Sendable {
  /// How often each operation was carried out.
  public var counts = InlineArray<8, Int>(repeating: 0)
  /// How often there was no memory or no address, which is legal.
  public var refused = 0
  /// New pages that did not read as zero.
  public var notZero = 0
  /// Words that had changed while their owner did nothing.
  public var changed = 0
  /// Operations that an allocator refused though they were legal.
  public var failed = 0
  /// Where the first wrong word was found; 0 if there is none.
  public var firstAddress: UInt = 0
  /// What was found there.
  public var firstValue: UInt64 = 0

  /// Nothing yet.
  public init() {}

  /// How much was found wrong.
  public var violations: Int { notZero + changed + failed }

  /// How often an operation was carried out.
  public func count(of operation: StormOperation) -> Int { counts[Int(operation.rawValue)] }

  /// How many operations on stacks and areas there were; looking is none.
  public var operations: Int {
    var sum = 0
    for index in 0..<StormOperation.count - 1 { sum += counts[index] }
    return sum
  }

  /// Adds what another worker did.
  public mutating func add(_ other: StormFigures) {
    for index in 0..<StormOperation.count { counts[index] += other.counts[index] }
    refused += other.refused
    if violations == 0 {
      firstAddress = other.firstAddress
      firstValue = other.firstValue
    }
    notZero += other.notZero
    changed += other.changed
    failed += other.failed
  }

  mutating func note(_ operation: StormOperation) { counts[Int(operation.rawValue)] += 1 }

  mutating func noteWrong(_ address: VirtualAddress, _ value: UInt64) {
    guard violations == 0 else { return }
    firstAddress = address.rawValue
    firstValue = value
  }
}

/// What one worker owns and has done.
public struct StormWorker {
  /// A stack or an area: its lowest address, which of its pages are there, and what its marks are told by.
  private struct Held {
    var base = VirtualAddress(0)
    var firstPage = 0
    var endPage = 0
    var salt: UInt64 = 0
    var isHeld: Bool { base.rawValue != 0 }
  }

  private var random: SplitMix64
  private let number: UInt64
  private var turns: UInt64 = 0
  private var stacks = InlineArray<2, Held>(repeating: Held())
  private var areas = InlineArray<2, Held>(repeating: Held())
  /// What it has done and found.
  public private(set) var figures = StormFigures()

  /// A worker that owns nothing yet.
  ///
  /// - Parameters:
  ///   - seed: the seed of the storm.
  ///   - number: the worker's own number.
  public init(seed: UInt64, number: Int) {
    self.number = UInt64(truncatingIfNeeded: number) &+ 1
    random = SplitMix64(seed: seed &+ self.number &* 0xd134_2543_de82_ef95)
  }

  /// What is left in memory that is given back.
  public static var poison: UInt64 { 0x6b6b_6b6b_6b6b_6b6b }

  /// Does one thing by chance, and verifies what it touches.
  public mutating func step<
    M: Machine, F: FrameSource & ~Copyable, A: StackArena & ~Copyable, Surroundings: StormSurroundings
  >(
    _ allocator: borrowing ThreadStackAllocator<M, F, A>, _ surroundings: Surroundings
  ) {
    turns &+= 1
    let stack = random.next(below: 2)
    let area = random.next(below: 2)
    switch random.next(below: 100) {
    case 0..<30:
      if !stacks[stack].isHeld {
        allocate(stack, allocator, surroundings)
      } else {
        free(stack, allocator, surroundings)
      }
    case 30..<44: grow(stack, allocator, surroundings)
    case 44..<74: shrink(stack, allocator, surroundings)
    case 74..<82:
      figures.note(.reclaim)
      surroundings.reclaim(target: random.next(below: 4) == 0 ? .max : 1 + random.next(below: 16))
    case 82..<96:
      if !areas[area].isHeld {
        allocateArea(area, surroundings)
      } else {
        freeArea(area, surroundings)
      }
    default:
      figures.note(.verify)
      for index in 0..<2 {
        verify(stacks[index], surroundings)
        verify(areas[index], surroundings)
      }
    }
  }

  /// Verifies and gives back all that it owns.
  public mutating func finish<
    M: Machine, F: FrameSource & ~Copyable, A: StackArena & ~Copyable, Surroundings: StormSurroundings
  >(
    _ allocator: borrowing ThreadStackAllocator<M, F, A>, _ surroundings: Surroundings
  ) {
    for index in 0..<2 {
      if stacks[index].isHeld { free(index, allocator, surroundings) }
      if areas[index].isHeld { freeArea(index, surroundings) }
    }
  }

  // MARK: Stacks

  private mutating func allocate<
    M: Machine, F: FrameSource & ~Copyable, A: StackArena & ~Copyable, Surroundings: StormSurroundings
  >(
    _ index: Int, _ allocator: borrowing ThreadStackAllocator<M, F, A>,
    _ surroundings: Surroundings
  ) {
    let base: VirtualAddress
    do {
      base = try allocator.allocate(node: nil).detach()
    } catch {
      figures.refused += 1
      return
    }
    figures.note(.allocate)
    let pages = allocator.geometry.pageCount
    let mapped = allocator.mappedPageCount(base)
    let held = Held(base: base, firstPage: pages - mapped, endPage: pages, salt: salt())
    begin(held, held.firstPage, held.endPage, surroundings)
    stacks[index] = held
  }

  private mutating func free<
    M: Machine, F: FrameSource & ~Copyable, A: StackArena & ~Copyable, Surroundings: StormSurroundings
  >(
    _ index: Int, _ allocator: borrowing ThreadStackAllocator<M, F, A>,
    _ surroundings: Surroundings
  ) {
    let held = stacks[index]
    stacks[index] = Held()
    verify(held, surroundings)
    poison(held, held.firstPage, held.endPage, surroundings)
    do {
      let stack = try allocator.stack(at: held.base)
      allocator.free(stack)
      figures.note(.free)
    } catch { figures.failed += 1 }
  }

  private mutating func grow<
    M: Machine, F: FrameSource & ~Copyable, A: StackArena & ~Copyable, Surroundings: StormSurroundings
  >(
    _ index: Int, _ allocator: borrowing ThreadStackAllocator<M, F, A>,
    _ surroundings: Surroundings
  ) {
    let held = stacks[index]
    guard held.isHeld, held.firstPage > 0 else { return }
    let wanted = random.next(below: held.firstPage)
    do {
      let stack = try allocator.stack(at: held.base)
      do {
        try allocator.populate(stack, bytes: (held.endPage - wanted) * pageSize)
        figures.note(.grow)
      } catch { figures.refused += 1 }
      _ = stack.detach()
    } catch { figures.failed += 1 }
    // What was mapped before memory ended stays.
    let first = held.endPage - allocator.mappedPageCount(held.base)
    begin(held, first, held.firstPage, surroundings)
    stacks[index].firstPage = first
  }

  /// Lets the lower pages of a stack go, or takes them back before they had another owner.
  private mutating func shrink<
    M: Machine, F: FrameSource & ~Copyable, A: StackArena & ~Copyable, Surroundings: StormSurroundings
  >(
    _ index: Int, _ allocator: borrowing ThreadStackAllocator<M, F, A>,
    _ surroundings: Surroundings
  ) {
    let held = stacks[index]
    guard held.isHeld, allocator.configuration.strategy == .growing else { return }
    guard held.firstPage < held.endPage - 1 else { return grow(index, allocator, surroundings) }
    verify(held, surroundings)
    let end = held.firstPage + 1 + random.next(below: held.endPage - 1 - held.firstPage)
    let isWanted = random.next(below: 4) == 0
    if !isWanted { poison(held, held.firstPage, end, surroundings) }
    var batch = ShrinkBatch()
    let retired = allocator.retireDeadPages(of: held.base, below: held.base + end * pageSize, into: &batch)
    allocator.completeInvalidation(of: &batch)
    let settled =
      isWanted
      ? allocator.restoreRetiredPages(of: held.base) : allocator.releaseRetiredPages(of: held.base)
    if retired != end - held.firstPage || settled != retired { figures.failed += 1 }
    figures.note(.shrink)
    if !isWanted { stacks[index].firstPage = end }
    verify(stacks[index], surroundings)
  }

  // MARK: Areas

  private mutating func allocateArea<Surroundings: StormSurroundings>(
    _ index: Int, _ surroundings: Surroundings
  ) {
    let pages = random.next(below: 8) == 0 ? 9 + random.next(below: 8) : 1 + random.next(below: 4)
    do {
      let base = try surroundings.allocateArea(byteCount: pages * pageSize)
      figures.note(.vmalloc)
      areas[index] = Held(base: base, firstPage: 0, endPage: pages, salt: salt())
      begin(areas[index], 0, pages, surroundings)
    } catch { figures.refused += 1 }
  }

  private mutating func freeArea<Surroundings: StormSurroundings>(_ index: Int, _ surroundings: Surroundings) {
    let held = areas[index]
    areas[index] = Held()
    verify(held, surroundings)
    poison(held, held.firstPage, held.endPage, surroundings)
    do {
      try surroundings.freeArea(held.base)
      figures.note(.vfree)
    } catch { figures.failed += 1 }
  }

  // MARK: Marks

  private func salt() -> UInt64 { number &<< 40 &+ turns &<< 16 }

  private static func place(_ held: Held, _ page: Int, _ index: Int) -> VirtualAddress {
    // Away from both ends of a stack, where the allocator and the machine have things of their own.
    held.base + (page * pageSize + 512 + index * 1536)
  }

  private static func mark(_ held: Held, _ address: VirtualAddress) -> UInt64 {
    (held.salt &+ UInt64(address.rawValue)) &* 0x9e37_79b9_7f4a_7c15
  }

  /// Pages are new: they read as zero, and get marks.
  private mutating func begin<Surroundings: StormSurroundings>(
    _ held: Held, _ first: Int, _ end: Int, _ surroundings: Surroundings
  ) {
    var page = first
    while page < end {
      for index in 0..<3 {
        let address = Self.place(held, page, index)
        let value = surroundings.load(address)
        if value != 0 {
          figures.noteWrong(address, value)
          figures.notZero += 1
        }
        surroundings.store(Self.mark(held, address), to: address)
      }
      page += 1
    }
  }

  private mutating func verify<Surroundings: StormSurroundings>(_ held: Held, _ surroundings: Surroundings) {
    guard held.isHeld else { return }
    for page in held.firstPage..<held.endPage {
      for index in 0..<3 {
        let address = Self.place(held, page, index)
        let value = surroundings.load(address)
        if value != Self.mark(held, address) {
          figures.noteWrong(address, value)
          figures.changed += 1
        }
      }
    }
  }

  private func poison<Surroundings: StormSurroundings>(
    _ held: Held, _ first: Int, _ end: Int, _ surroundings: Surroundings
  ) {
    for page in first..<end {
      for index in 0..<3 { surroundings.store(Self.poison, to: Self.place(held, page, index)) }
    }
  }
}
