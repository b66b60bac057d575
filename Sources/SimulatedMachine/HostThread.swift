// A thread of the host, without Foundation.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

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

  /// Starts a thread.
  ///
  /// Its stack is as large as a main thread's, which debug builds need.
  ///
  /// - Throws: ``SimulationError/hostThreadRefused``.
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

  /// Waits until it has ended.
  func join() {
    #if canImport(Darwin)
      if let thread { pthread_join(thread, nil) }
    #else
      pthread_join(thread, nil)
    #endif
  }

  /// Lets it run or sleep without being joined.
  func detach() {
    #if canImport(Darwin)
      if let thread { pthread_detach(thread) }
    #else
      pthread_detach(thread)
    #endif
  }
}
