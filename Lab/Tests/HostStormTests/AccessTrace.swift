// Every access of the host's CPU to a block of memory, by cache line: the real loads and stores of the allocator.
//
//     the block cannot be accessed      an access faults          its page may be accessed, one instruction is executed
//            ^                               |                                |
//            |                               v                                v
//            +--------------------- the trap after that instruction <--- single step
//
// The page fault gives address and kind, so no access is missed or guessed from the memory afterwards. An instruction with
// two operands in the block faults for each, unless both are in the same page.
//
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, vol. 3, 4.7 "Page-Fault Exceptions" (error code) and
// 18.3.1.4 "Single-Step Exception Condition".
#if os(Linux) && arch(x86_64)
  import Glibc

  /// The lines that were read and those that were written.
  struct AccessedLines {
    var read: Set<UInt> = []
    var written: Set<UInt> = []
  }

  /// The state of the signal handlers: plain memory, since they must not allocate.
  private struct Tracing {
    var start: UInt = 0
    var byteCount: UInt = 0
    /// The pages that may be accessed now: an instruction has two operands in memory at most.
    var pages: (UInt, UInt) = (0, 0)
    /// For each access the address, with bit 63 set for a write.
    var log: UnsafeMutablePointer<UInt>?
    var count = 0
    var capacity = 0
  }

  private nonisolated(unsafe) var tracing = Tracing()

  // Places in the saved registers, as <sys/ucontext.h> numbers them.
  private let flagsRegister = 17
  private let errorRegister = 19
  private let faultAddressRegister = 22
  private let trapFlag: Int64 = 0x100
  private let pageMask: UInt = 0xfff

  private func registers(_ context: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Int64> {
    let context = context.assumingMemoryBound(to: ucontext_t.self)
    let offset =
      MemoryLayout<ucontext_t>.offset(of: \.uc_mcontext)! + MemoryLayout<mcontext_t>.offset(of: \.gregs)!
    return (UnsafeMutableRawPointer(context) + offset).assumingMemoryBound(to: Int64.self)
  }

  private func protect(_ start: UInt, _ byteCount: UInt, _ protection: Int32) {
    mprotect(UnsafeMutableRawPointer(bitPattern: start), Int(byteCount), protection)
  }

  private func accessFaulted(_ context: UnsafeMutableRawPointer) {
    let registers = registers(context)
    let address = UInt(bitPattern: Int(registers[faultAddressRegister]))
    guard address &- tracing.start < tracing.byteCount, tracing.count < tracing.capacity else {
      // A fault of other code: it comes again, and ends the process.
      signal(SIGSEGV, SIG_DFL)
      return
    }
    tracing.log![tracing.count] = address | (registers[errorRegister] & 2 != 0 ? 1 << 63 : 0)
    tracing.count += 1
    tracing.pages = (address & ~pageMask, tracing.pages.0)
    protect(tracing.pages.0, pageMask + 1, PROT_READ | PROT_WRITE)
    registers[flagsRegister] |= trapFlag
  }

  private func stepEnded(_ context: UnsafeMutableRawPointer) {
    registers(context)[flagsRegister] &= ~trapFlag
    protect(tracing.pages.0, pageMask + 1, PROT_NONE)
    if tracing.pages.1 != 0 { protect(tracing.pages.1, pageMask + 1, PROT_NONE) }
    tracing.pages = (0, 0)
  }

  /// Finds the lines of a block of memory that some code accesses; on this thread, one call at a time.
  ///
  /// - Parameters:
  ///   - block: whole pages, all of which may be read and written.
  ///   - lineBytes: the size of a line, in bytes.
  func accessedLines(
    in block: UnsafeMutableRawBufferPointer, lineBytes: UInt, _ body: () -> Void
  ) -> AccessedLines {
    let capacity = 1 << 20
    let log = UnsafeMutablePointer<UInt>.allocate(capacity: capacity)
    defer { log.deallocate() }
    tracing = Tracing(
      start: UInt(bitPattern: block.baseAddress!), byteCount: UInt(block.count), log: log, capacity: capacity)
    var before = (sigaction(), sigaction())
    var onFault = sigaction()
    onFault.sa_flags = SA_SIGINFO
    onFault.__sigaction_handler.sa_sigaction = { _, _, context in accessFaulted(context!) }
    var onTrap = sigaction()
    onTrap.sa_flags = SA_SIGINFO
    onTrap.__sigaction_handler.sa_sigaction = { _, _, context in stepEnded(context!) }
    // Globals that are initialized at first use are used here, before the handlers need them.
    precondition(flagsRegister + errorRegister + faultAddressRegister > 0 && trapFlag != 0 && pageMask != 0)
    sigaction(SIGSEGV, &onFault, &before.0)
    sigaction(SIGTRAP, &onTrap, &before.1)
    protect(tracing.start, tracing.byteCount, PROT_NONE)
    body()
    protect(tracing.start, tracing.byteCount, PROT_READ | PROT_WRITE)
    sigaction(SIGSEGV, &before.0, nil)
    sigaction(SIGTRAP, &before.1, nil)
    precondition(tracing.count < capacity, "more accesses than are remembered")

    var lines = AccessedLines()
    for index in 0..<tracing.count {
      let line = (log[index] & ~(1 << 63)) / lineBytes
      if log[index] >> 63 != 0 { lines.written.insert(line) } else { lines.read.insert(line) }
    }
    return lines
  }
#endif
