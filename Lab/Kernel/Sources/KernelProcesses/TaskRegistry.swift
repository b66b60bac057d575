// The memory that a task has taken in its own name and not given back. It is freed when the task ends, however it ends: a task
// ended by an overflow runs no destructors, and no other record of this memory exists.
//
//   task's record        page of entries                      older page
//   +----------+        +------------------------------+      +-------------
//   | registry | -----> | older | count | entry | …    | ---> | 0 | 510 | …
//   +----------+        +------------------------------+      +-------------
//
//   entry: a block of frames   0          | physical address, 47:12 | order
//          an area             the address of its first byte, in the upper half
//
// Only the task itself changes its registry, inside an allocator section, or its successor after its end: no lock is needed.

import KernelStacks

/// The page frames and vmalloc areas that belong to one task.
public struct TaskRegistry: Sendable {
  /// The frame number of the newest page of entries, or 0 if the registry is empty.
  private var newestFrame: UInt32 = 0
  /// The physical address of that page.
  fileprivate var newest: UInt {
    get { UInt(newestFrame) << 12 }
    set { newestFrame = UInt32(newValue >> 12) }
  }

  /// Makes an empty registry.
  public init() {}

  /// Whether the registry is empty.
  public var isEmpty: Bool { newest == 0 }
}

/// The reason why a task got no memory, or could not give it back.
///
/// When it is thrown, nothing has changed.
public enum TaskRegistryError: Error, Equatable, TextDescribable {
  /// No frames for the task or for the registry.
  case frames(FrameSourceError)
  /// No area.
  case vmalloc(VmallocError)
  /// The task has not taken this memory, or has given it back.
  case notTaken(UInt)

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .frames(let error): error.write(to: &sink)
    case .vmalloc(let error): error.write(to: &sink)
    case .notTaken(let address):
      sink.write("the task has not taken ")
      sink.write(hex: address)
    }
  }
}

#if !hasFeature(Embedded)
  extension TaskRegistryError: CustomStringConvertible {}
#endif

/// The header of a page of entries, at the start of its frame; the entries follow.
private struct RegistryPage {
  var older: UInt
  var count: Int

  static var capacity: Int { 510 }
}

extension Processes {
  // MARK: Taking

  /// Allocates a block of frames in a task's name.
  ///
  /// - Parameters:
  ///   - order: log2 of the number of frames.
  ///   - registry: the task's registry.
  /// - Throws: ``TaskRegistryError/frames(_:)``.
  public borrowing func takeFrames(
    order: Int, for registry: inout TaskRegistry
  ) throws(TaskRegistryError) -> PageFrame {
    try makeRoom(in: &registry)
    do {
      let frame = try frames.allocate(FrameRequest(order: order, purpose: .other))
      add(frame.physicalAddress.rawValue | UInt(order), to: registry)
      return frame
    } catch {
      dropEmptyPage(of: &registry)
      throw .frames(error)
    }
  }

  /// Allocates an area of the vmalloc area in a task's name.
  ///
  /// - Parameters:
  ///   - size: a positive multiple of 4,096, in bytes.
  ///   - registry: the task's.
  /// - Throws: ``TaskRegistryError/vmalloc(_:)``, or ``TaskRegistryError/frames(_:)`` for the registry itself.
  public borrowing func takeArea(
    size: Int, for registry: inout TaskRegistry
  ) throws(TaskRegistryError) -> VirtualAddress {
    try makeRoom(in: &registry)
    do {
      let area = try arena.vmalloc(size: size, caller: "task", frames: frames)
      add(area.rawValue, to: registry)
      return area
    } catch {
      dropEmptyPage(of: &registry)
      throw .vmalloc(error)
    }
  }

  // MARK: Giving back

  /// Frees a block of frames that the task has taken.
  ///
  /// - Throws: ``TaskRegistryError/notTaken(_:)``.
  /// - Complexity: O(number of entries added since).
  public borrowing func giveBack(
    _ frame: PageFrame, order: Int, from registry: inout TaskRegistry
  ) throws(TaskRegistryError) {
    try remove(frame.physicalAddress.rawValue | UInt(order), from: &registry)
    returnFrame(frame, order: order, to: frames)
  }

  /// Frees an area that the task has taken.
  ///
  /// - Throws: ``TaskRegistryError/notTaken(_:)``.
  /// - Complexity: O(number of entries added since).
  public borrowing func giveBack(
    _ area: VirtualAddress, from registry: inout TaskRegistry
  ) throws(TaskRegistryError) {
    try remove(area.rawValue, from: &registry)
    freeArea(area)
  }

  /// Frees all memory that a task has taken, the newest first.
  ///
  /// - Returns: the number of blocks and areas.
  @discardableResult
  public borrowing func giveBackAll(from registry: inout TaskRegistry) -> Int {
    var given = 0
    while registry.newest != 0 {
      let page = self.page(registry.newest)
      while page.pointee.count > 0 {
        page.pointee.count -= 1
        let entry = entries(of: page)[page.pointee.count]
        if entry >> 63 != 0 {
          freeArea(VirtualAddress(entry))
        } else {
          returnFrame(
            PhysicalAddress(entry & ~0xfff).frame, order: Int(entry & 0xfff), to: frames)
        }
        given += 1
      }
      dropEmptyPage(of: &registry)
    }
    return given
  }

  private borrowing func freeArea(_ area: VirtualAddress) {
    do {
      try arena.vfree(area, frames: frames)
    } catch {
      fatalError("an area that was handed out is not taken back")
    }
  }

  // MARK: Entries

  private borrowing func page(_ address: UInt) -> UnsafeMutablePointer<RegistryPage> {
    machine.pointer(to: PhysicalAddress(address)).assumingMemoryBound(to: RegistryPage.self)
  }

  private borrowing func entries(of page: UnsafeMutablePointer<RegistryPage>) -> UnsafeMutablePointer<UInt> {
    UnsafeMutableRawPointer(page + 1).assumingMemoryBound(to: UInt.self)
  }

  /// Makes room for one more entry in the newest page, so that recording what is taken next cannot fail.
  private borrowing func makeRoom(in registry: inout TaskRegistry) throws(TaskRegistryError) {
    if registry.newest != 0, page(registry.newest).pointee.count < RegistryPage.capacity { return }
    do {
      let frame = try frames.allocate(FrameRequest(purpose: .metadata))
      page(frame.physicalAddress.rawValue).initialize(to: RegistryPage(older: registry.newest, count: 0))
      registry.newest = frame.physicalAddress.rawValue
    } catch { throw .frames(error) }
  }

  private borrowing func add(_ entry: UInt, to registry: TaskRegistry) {
    let page = self.page(registry.newest)
    entries(of: page)[page.pointee.count] = entry
    page.pointee.count += 1
  }

  /// Removes an entry; the newest one takes its place.
  private borrowing func remove(_ entry: UInt, from registry: inout TaskRegistry) throws(TaskRegistryError) {
    var address = registry.newest
    while address != 0 {
      let page = self.page(address)
      var index = page.pointee.count
      while index > 0 {
        index -= 1
        guard entries(of: page)[index] == entry else { continue }
        let newest = self.page(registry.newest)
        newest.pointee.count -= 1
        entries(of: page)[index] = entries(of: newest)[newest.pointee.count]
        dropEmptyPage(of: &registry)
        return
      }
      address = page.pointee.older
    }
    throw .notTaken(entry)
  }

  /// Frees the newest page if it has no entry.
  private borrowing func dropEmptyPage(of registry: inout TaskRegistry) {
    guard registry.newest != 0 else { return }
    let page = self.page(registry.newest)
    guard page.pointee.count == 0 else { return }
    let frame = PhysicalAddress(registry.newest).frame
    registry.newest = page.pointee.older
    returnFrame(frame, to: frames)
  }
}
