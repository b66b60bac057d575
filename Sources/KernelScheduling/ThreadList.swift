// A list of threads, linked through their records: nothing is allocated, and any thread can leave it in O(1).

/// Threads in the order in which they were added.
///
/// It changes only under its owner's lock.
struct ThreadList {
  var first: ScheduledThreadPointer?
  var last: ScheduledThreadPointer?
  var count = 0

  init() {}

  /// Adds a thread at the end.
  mutating func append(_ thread: ScheduledThreadPointer) {
    thread.pointee.next = nil
    thread.pointee.previous = last
    if let last { last.pointee.next = thread } else { first = thread }
    last = thread
    count &+= 1
  }

  /// Takes the first thread out.
  mutating func removeFirst() -> ScheduledThreadPointer? {
    guard let thread = first else { return nil }
    remove(thread)
    return thread
  }

  /// Takes a thread out that is in this list.
  mutating func remove(_ thread: ScheduledThreadPointer) {
    let (next, previous) = (thread.pointee.next, thread.pointee.previous)
    if let previous { previous.pointee.next = next } else { first = next }
    if let next { next.pointee.previous = previous } else { last = previous }
    count &-= 1
  }
}
