// All areas by address: an AVL tree in which each node knows the gap below it, and each subtree its largest gap for each
// alignment. Finding the lowest place for an area, inserting, removing and looking up are logarithmic in their number.
//
//                        [ C ]  room = max over A…E
//                       /     \
//                   [ A ]     [ E ]                 gap below A | A | gap below B | B | … | E | gap | sentinel
//                       \     /    \
//                     [ B ] [ D ] [sentinel]
//
// The sentinel stands for the end of the range: it has no length, and the gap below it is the one above the last area.
// That gap, most of the range as a rule, is left out of the figures and tried last. Otherwise each area that is put at
// its lower end would change the figures of every node on the way to the root.
//
// Source: the augmentation is that of Linux's mm/vmalloc.c (subtree_max_size), kept per alignment so that the search
// never tries a gap in vain.

/// The areas of a range.
///
/// Guarded by the lock of the state that it is part of.
struct AreaTree {
  var root: AreaPointer
  /// The lowest area; the sentinel if there is none.
  var first: AreaPointer
  let sentinel: AreaPointer
  /// The number of areas.
  var count: Int

  /// An empty tree over a range.
  init(lowerBound: UInt, upperBound: UInt, sentinel: AreaPointer) {
    sentinel.pointee.start = upperBound
    sentinel.pointee.base = upperBound
    sentinel.pointee.end = upperBound
    sentinel.pointee.gapStart = lowerBound
    self.sentinel = sentinel
    root = sentinel
    first = sentinel
    count = 0
    _ = Self.update(sentinel)
  }

  /// The largest gap, in bytes.
  var largestGap: UInt {
    max(root.pointee.room[0], sentinel.pointee.start &- sentinel.pointee.gapStart)
  }

  // MARK: Looking up

  /// The area that holds an address, its guard and margins included.
  func area(containing address: UInt) -> AreaPointer? {
    var node: AreaPointer? = root
    while let area = node {
      if address < area.pointee.start {
        node = area.pointee.left
      } else if address < area.pointee.end {
        return area
      } else {
        node = area.pointee.right
      }
    }
    return nil
  }

  /// The lowest area that starts at or above an address, or the sentinel.
  func firstArea(startingAtOrAbove address: UInt) -> AreaPointer {
    var node: AreaPointer? = root
    var best = sentinel
    while let area = node {
      if area.pointee.start >= address {
        best = area
        node = area.pointee.left
      } else {
        node = area.pointee.right
      }
    }
    return best
  }

  /// Finds the lowest place for an area.
  ///
  /// - Returns: the area (or sentinel) in whose gap the place is, and the place.
  func lowestFit(
    _ shape: AreaShape
  ) -> (above: AreaPointer, start: UInt, base: UInt, end: UInt)? {
    if let found = shape.isExactInLane ? lowestFit(shape, lane: shape.lane) : lowestFit(shape, below: root) {
      return found
    }
    guard let place = Self.place(shape, below: sentinel) else { return nil }
    return (sentinel, place.start, place.base, place.end)
  }

  /// Descends straight to the lowest gap with room: the figures of the lane are exact.
  private func lowestFit(
    _ shape: AreaShape, lane: Int
  ) -> (above: AreaPointer, start: UInt, base: UInt, end: UInt)? {
    let bytes = shape.leastBytes
    var node = root
    if node.pointee.room[lane] < bytes { return nil }
    while true {
      if let left = node.pointee.left, left.pointee.room[lane] >= bytes {
        node = left
      } else if let place = Self.place(shape, below: node) {
        return (node, place.start, place.base, place.end)
      } else if let right = node.pointee.right, right.pointee.room[lane] >= bytes {
        node = right
      } else {
        return nil
      }
    }
  }

  /// For stack arenas and for alignments above 2 MiB: tries the gaps with room in the nearest lane, lowest first.
  private func lowestFit(
    _ shape: AreaShape, below node: AreaPointer?
  ) -> (above: AreaPointer, start: UInt, base: UInt, end: UInt)? {
    guard let node, node.pointee.room[shape.lane] >= shape.leastBytes else { return nil }
    if let found = lowestFit(shape, below: node.pointee.left) { return found }
    if let place = Self.place(shape, below: node) { return (node, place.start, place.base, place.end) }
    return lowestFit(shape, below: node.pointee.right)
  }

  private static func place(
    _ shape: AreaShape, below node: AreaPointer
  ) -> (start: UInt, base: UInt, end: UInt)? {
    let gap = (node.pointee.gapStart, node.pointee.start)
    if gap.1 &- gap.0 < shape.leastBytes { return nil }
    return shape.place(in: Range(uncheckedBounds: gap))
  }

  // MARK: Changing

  /// Inserts an area into the gap below another.
  ///
  /// Its bounds are set and lie in the gap.
  mutating func insert(_ area: AreaPointer, below above: AreaPointer) {
    let previous = above.pointee.previous
    area.pointee.previous = previous
    area.pointee.next = above
    area.pointee.gapStart = above.pointee.gapStart
    area.pointee.left = nil
    area.pointee.right = nil
    above.pointee.previous = area
    above.pointee.gapStart = area.pointee.end
    if let previous { previous.pointee.next = area } else { first = area }
    // The place in the tree directly before `above`: one of the two is free.
    let parent: AreaPointer
    if above.pointee.left == nil {
      parent = above
      above.pointee.left = area
    } else {
      parent = previous.unsafelyUnwrapped
      parent.pointee.right = area
    }
    area.pointee.parent = parent
    _ = Self.update(area)
    count &+= 1
    restore(from: parent)
    // `above` is an ancestor of the new node. If the walk ends below it, its own figure is still to be updated.
    if above != parent && above != sentinel { restore(from: above) }
  }

  /// Removes an area; its addresses become part of the gap below the next.
  mutating func remove(_ area: AreaPointer) {
    let next = area.pointee.next.unsafelyUnwrapped
    let previous = area.pointee.previous
    next.pointee.previous = previous
    next.pointee.gapStart = area.pointee.gapStart
    if let previous { previous.pointee.next = next } else { first = next }

    let lowestChanged: AreaPointer?
    if let left = area.pointee.left, let right = area.pointee.right {
      // The successor takes the place of the area, with the figures that the ancestors know.
      if right == next {
        lowestChanged = next
      } else {
        let parent = next.pointee.parent.unsafelyUnwrapped
        lowestChanged = parent
        parent.pointee.left = next.pointee.right
        next.pointee.right?.pointee.parent = parent
        next.pointee.right = right
        right.pointee.parent = next
      }
      next.pointee.left = left
      left.pointee.parent = next
      next.pointee.height = area.pointee.height
      next.pointee.room = area.pointee.room
      replace(area, by: next)
    } else {
      lowestChanged = area.pointee.parent
      replace(area, by: area.pointee.left ?? area.pointee.right)
    }
    count &-= 1
    if let lowestChanged { restore(from: lowestChanged) }
    restore(from: next)
  }

  private mutating func replace(_ old: AreaPointer, by new: AreaPointer?) {
    let parent = old.pointee.parent
    new?.pointee.parent = parent
    if let parent {
      if parent.pointee.left == old { parent.pointee.left = new } else { parent.pointee.right = new }
    } else {
      root = new.unsafelyUnwrapped  // The sentinel is never removed.
    }
  }

  /// Updates heights, balance and figures from a node upwards, until one does not change.
  private mutating func restore(from node: AreaPointer) {
    var node = node
    while true {
      let lean = Self.height(node.pointee.left) &- Self.height(node.pointee.right)
      if lean > 1 {
        let left = node.pointee.left.unsafelyUnwrapped
        if Self.height(left.pointee.left) < Self.height(left.pointee.right) { rotateLeft(left) }
        node = rotateRight(node)
      } else if lean < -1 {
        let right = node.pointee.right.unsafelyUnwrapped
        if Self.height(right.pointee.right) < Self.height(right.pointee.left) { rotateRight(right) }
        node = rotateLeft(node)
      } else if !Self.update(node) {
        return
      }
      guard let parent = node.pointee.parent else { return }
      node = parent
    }
  }

  //       node                 top
  //      /    \               /   \
  //     a      top    <->  node     c
  //           /   \       /    \
  //          b     c     a      b
  @discardableResult private mutating func rotateLeft(_ node: AreaPointer) -> AreaPointer {
    let top = node.pointee.right.unsafelyUnwrapped
    replace(node, by: top)
    node.pointee.right = top.pointee.left
    top.pointee.left?.pointee.parent = node
    top.pointee.left = node
    node.pointee.parent = top
    _ = Self.update(node)
    _ = Self.update(top)
    return top
  }

  @discardableResult private mutating func rotateRight(_ node: AreaPointer) -> AreaPointer {
    let top = node.pointee.left.unsafelyUnwrapped
    replace(node, by: top)
    node.pointee.left = top.pointee.right
    top.pointee.right?.pointee.parent = node
    top.pointee.right = node
    node.pointee.parent = top
    _ = Self.update(node)
    _ = Self.update(top)
    return top
  }

  private static func height(_ node: AreaPointer?) -> Int {
    guard let node else { return 0 }
    return Int(node.pointee.height)
  }

  /// Recomputes height and figures of a node from its children.
  ///
  /// The room for a larger alignment is never more than that for a smaller one, so from the first 0 on, all are 0.
  ///
  /// - Returns: whether one of them changed.
  static func update(_ node: AreaPointer) -> Bool {
    let left = node.pointee.left
    let right = node.pointee.right
    let height = UInt8(truncatingIfNeeded: 1 &+ max(Self.height(left), Self.height(right)))
    var changed = height != node.pointee.height
    node.pointee.height = height
    let hasGap = node.pointee.start > node.pointee.gapStart && node.pointee.next != nil
    for lane in 0..<RoomPerAlignment.count {
      var room: UInt = hasGap ? node.pointee.ownRoom(lane: lane) : 0
      if let left { room = max(room, left.pointee.room[unchecked: lane]) }
      if let right { room = max(room, right.pointee.room[unchecked: lane]) }
      if node.pointee.room[unchecked: lane] != room {
        node.pointee.room[unchecked: lane] = room
        changed = true
      } else if room == 0 {
        break
      }
    }
    return changed
  }
}
