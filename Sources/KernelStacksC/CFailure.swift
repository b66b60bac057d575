// The conversion of the core's typed errors to `ks_error`: a code, the figures, and the same text.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelPageFrames
  import KernelStacksCHeader
  import KernelThreadStacks
  import KernelVirtualMemory

  /// The parts of an error that a program reads: its code and figures.
  struct CFailure {
    var code: ks_code
    var address: UInt = 0
    var requested = 0
    var available = 0
    var largest = 0

    init(_ code: ks_code, address: UInt = 0, requested: Int = 0, available: Int = 0, largest: Int = 0) {
      self.code = code
      self.address = address
      self.requested = requested
      self.available = available
      self.largest = largest
    }
  }

  /// An error that can be reported to C code.
  protocol CReportable: TextDescribable {
    var failure: CFailure { get }
  }

  /// Fills in an error if the caller has passed one, and returns its code.
  @inline(never) func report<E: CReportable>(
    _ error: E, to out: UnsafeMutablePointer<ks_error>?
  ) -> ks_code {
    let failure = error.failure
    guard let out else { return failure.code }
    out.pointee.code = failure.code
    out.pointee.address = UInt64(failure.address)
    out.pointee.requested = UInt64(bitPattern: Int64(failure.requested))
    out.pointee.available = UInt64(bitPattern: Int64(failure.available))
    out.pointee.largest = UInt64(bitPattern: Int64(failure.largest))
    withUnsafeMutablePointer(to: &out.pointee.text) { text in
      var buffer = CTextBuffer(text)
      withUnsafeMutablePointer(to: &buffer) { buffer in
        var sink = CPutSink(put: CTextBuffer.append, context: buffer)
        error.write(to: &sink)
      }
      buffer.finish()
    }
    return failure.code
  }

  /// Reports a free that is refused, as `report` does, and calls the kernel's handler.
  @inline(never) func reportMisuse<E: CReportable>(
    _ error: E, to out: UnsafeMutablePointer<ks_error>?
  ) -> ks_code {
    if ks_state().pointee.misuse == nil { return report(error, to: out) }
    guard let out else { return reportMisuse(error) }
    let code = report(error, to: out)
    callMisuseHandler(out)
    return code
  }

  /// Calls the kernel's handler where the caller has no place for the error.
  ///
  /// Its frame is the largest below a free. So what can be read again, the code and the handler, is not kept in registers.
  @inline(never) private func reportMisuse<E: CReportable>(_ error: E) -> ks_code {
    withUnsafeTemporaryAllocation(of: ks_error.self, capacity: 1) { local in
      let place = local.baseAddress.unsafelyUnwrapped
      _ = report(error, to: place)
      callMisuseHandler(place)
      return place.pointee.code
    }
  }

  /// Calls the kernel's handler, which is there.
  @inline(__always) private func callMisuseHandler(_ error: UnsafePointer<ks_error>) {
    ks_state().pointee.misuse.unsafelyUnwrapped(error)
  }

  /// Passes text to a C function: the only sink, so that what writes to one is there once.
  struct CPutSink: TextSink {
    let put: @convention(c) (UnsafeMutableRawPointer?, CChar) -> Void
    let context: UnsafeMutableRawPointer?

    @inline(never) mutating func write(byte: UInt8) { put(context, CChar(bitPattern: byte)) }
  }

  /// An error's text, which ends with 0; characters that do not fit are left out.
  ///
  /// It lies on the deepest stack of all calls: so it has two words, and the length is a constant.
  struct CTextBuffer {
    private let text: UnsafeMutablePointer<UInt8>
    /// How many bytes were appended, and left out.
    private var count = 0

    init(_ text: UnsafeMutableRawPointer) { self.text = text.assumingMemoryBound(to: UInt8.self) }

    /// How many bytes there is room for: one is kept for the 0 at the end.
    private static var limit: Int { Int(KS_ERROR_TEXT_SIZE) &- 1 }

    /// Appends a byte to the buffer at an address.
    static let append: @convention(c) (UnsafeMutableRawPointer?, CChar) -> Void = { buffer, character in
      buffer?.assumingMemoryBound(to: CTextBuffer.self).pointee.append(UInt8(bitPattern: character))
    }

    private mutating func append(_ byte: UInt8) {
      if count < Self.limit { text[count] = byte }
      count &+= 1
    }

    @inline(never) mutating func finish() {
      // The last character may be incomplete: 0b10xxxxxx continues one, 0b11xxxxxx begins it.
      if count > Self.limit {
        count = Self.limit
        while count > 0, text[count &- 1] & 0xc0 == 0x80 { count &-= 1 }
        if count > 0, text[count &- 1] & 0xc0 == 0xc0 { count &-= 1 }
      }
      text[count] = 0
    }
  }
#endif
