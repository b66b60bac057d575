// Turns of host threads: only the one that holds the baton executes.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A baton that a fixed number of threads pass to each other.
final class Baton {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let conditions: UnsafeMutablePointer<pthread_cond_t>
  private let count: Int
  private var holder: Int

  /// A baton for the threads `0..<count`, held by `holder`.
  init(count: Int, holder: Int) {
    self.count = count
    self.holder = holder
    mutex.initialize(to: pthread_mutex_t())
    pthread_mutex_init(mutex, nil)
    conditions = .allocate(capacity: count)
    for index in 0..<count {
      (conditions + index).initialize(to: pthread_cond_t())
      pthread_cond_init(conditions + index, nil)
    }
  }

  deinit {
    for index in 0..<count { pthread_cond_destroy(conditions + index) }
    pthread_mutex_destroy(mutex)
    conditions.deallocate()
    mutex.deallocate()
  }

  /// Gives the turn to `next`.
  func pass(to next: Int) {
    pthread_mutex_lock(mutex)
    holder = next
    pthread_cond_signal(conditions + next)
    pthread_mutex_unlock(mutex)
  }

  /// Sleeps until `index` has the turn.
  func wait(for index: Int) {
    pthread_mutex_lock(mutex)
    while holder != index { pthread_cond_wait(conditions + index, mutex) }
    pthread_mutex_unlock(mutex)
  }
}
