// Threads of the host, and turns between them: exactly one that was given the turn executes.

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

/// A thread of the host.
struct HostThread {
  private final class Start {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
  }

  #if canImport(Darwin)
    private var thread: pthread_t?
  #else
    private var thread = pthread_t()
  #endif

  /// Starts a thread. Its stack is as large as a main thread's: debug builds need it.
  init(_ body: @escaping () -> Void) throws(SimulationError) {
    let start = Unmanaged.passRetained(Start(body))
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setstacksize(&attributes, 8 << 20)
    let status = pthread_create(
      &thread, &attributes,
      { argument in
        #if canImport(Darwin)
          Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body()
        #else
          Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue().body()
        #endif
        return nil
      }, start.toOpaque())
    pthread_attr_destroy(&attributes)
    guard status == 0 else {
      start.release()
      throw .hostThreadRefused
    }
  }

  /// Waits for its end.
  func join() {
    #if canImport(Darwin)
      if let thread { pthread_join(thread, nil) }
    #else
      pthread_join(thread, nil)
    #endif
  }

  /// Lets it go on, or sleep, by itself.
  func detach() {
    #if canImport(Darwin)
      if let thread { pthread_detach(thread) }
    #else
      pthread_detach(thread)
    #endif
  }
}
