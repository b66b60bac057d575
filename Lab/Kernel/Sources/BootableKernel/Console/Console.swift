// The console: a text sink on the serial port, line by line from all CPUs, and the ways to end the machine.
import CAArch64
import DeviceTree
import KernelAssembly
import KernelStacks
import Synchronization

// Output is dropped until the serial port has been found.
nonisolated(unsafe) private var serialPort: BoardSerial?
// Whether output goes to a debugger or emulator (semihosting) while there is no serial port.
nonisolated(unsafe) private var speaksToDebugger = false
nonisolated(unsafe) private var firmware = BoardFirmware()
nonisolated(unsafe) private var powerManager: BCM2835Power?

// The line lock, then its owner: a CPU's number + 1, or 0. The rest belongs to the owner, whose interrupts are off.
private var lineLock: UnsafeMutablePointer<UInt64> {
  UnsafeMutablePointer(bitPattern: kernel_console_lock()).unsafelyUnwrapped
}
private let lineOwner = Atomic<UInt64>(0)
nonisolated(unsafe) private var lineDepth = 0
nonisolated(unsafe) private var lineInterrupts: UInt64 = 0

/// The console.
///
/// All copies are the same console. Without a serial port it drops all output but the reason for the kernel's end.
struct Console: TextSink {
  /// Directs the console to a serial port.
  static func use(_ port: BoardSerial) { serialPort = port }

  /// Sets the power manager, by the virtual address of its registers.
  static func use(powerManager address: UInt) { powerManager = BCM2835Power(base: address) }

  /// Sets the firmware that switches off machines without semihosting.
  static func use(_ found: BoardFirmware) { firmware = found }

  /// Takes the console for a line: waits for other CPUs' lines, and keeps them out until ``endLine()``.
  ///
  /// Interrupts are off in between. Lines may nest.
  func beginLine() {
    let state = ca_disable_interrupts()
    yieldToReport()
    let this = ca_cpu_number() + 1
    if lineOwner.load(ordering: .acquiring) != this {
      ca_lock(lineLock)
      lineOwner.store(this, ordering: .releasing)
      lineInterrupts = state
    }
    lineDepth += 1
  }

  /// Ends the line, and restores the interrupt state at its beginning if no outer line is open.
  func endLine() {
    lineDepth -= 1
    guard lineDepth == 0 else { return }
    let state = lineInterrupts
    lineOwner.store(0, ordering: .releasing)
    ca_unlock(lineLock)
    ca_restore_interrupts(state)
  }

  /// Gives the console for good to the CPU that ends the kernel, even if another CPU is in the middle of a line.
  static func takeOver() {
    var console = Console()
    let owner = lineOwner.load(ordering: .acquiring)
    if owner != 0, owner != ca_cpu_number() + 1 { console.write("\n") }
    lineOwner.store(ca_cpu_number() + 1, ordering: .releasing)
    lineDepth = 1
  }

  /// Writes a byte, unless another CPU is reporting the end of the kernel: then this CPU stops in the middle of its line.
  mutating func write(byte: UInt8) {
    yieldToReport()
    if let serialPort {
      serialPort.send(byte)
    } else if speaksToDebugger {
      ca_semihosting_write(byte)
    }
  }

  /// Directs the last output of the kernel to a debugger or emulator where there is no serial port.
  ///
  /// Without either, the first byte switches the machine off, which is about to end anyway.
  static func beginLastWords() { speaksToDebugger = true }

  /// Writes a line.
  static func print(_ text: StaticString) {
    var console = Console()
    console.beginLine()
    console.write(text)
    console.write("\n")
    console.endLine()
  }

  /// Writes a JSON record of type `error`.
  static func error(_ message: StaticString) { error(message) { _ in } }

  /// Writes a JSON record of type `error` whose message is `message`, a colon, and `detail`.
  static func error(_ message: StaticString, _ detail: StaticString) {
    error(message) { console in
      console.write(": ")
      console.write(detail)
    }
  }

  /// Writes a JSON record of type `error` whose message is `message`, a colon, and a description.
  static func error<Reason: TextDescribable>(_ message: StaticString, _ reason: Reason) {
    error(message) { console in
      console.write(": ")
      reason.write(to: &console)
    }
  }

  private static func error(_ message: StaticString, _ writeRest: (inout Console) -> Void) {
    var console = Console()
    console.beginLine()
    console.write("{\"type\":\"error\",\"message\":\"")
    console.write(message)
    writeRest(&console)
    console.write("\"}\n")
    console.endLine()
  }

  /// Writes a JSON record of type `check`.
  static func check(_ name: StaticString, passed: Bool) {
    var console = Console()
    console.beginLine()
    console.write("{\"type\":\"check\",\"name\":\"")
    console.write(name)
    console.write(passed ? "\",\"passed\":true}\n" : "\",\"passed\":false}\n")
    console.endLine()
  }
}

/// The machine's exit code.
enum ExitCode: UInt64 {
  /// The scenario ran and its checks held.
  case success = 0
  /// The scenario ran and failed, or could not run.
  case failure = 1
  /// The kernel panicked.
  case panic = 2
}

nonisolated(unsafe) private var exitCode = ExitCode.panic

/// Ends the machine.
func exitMachine(_ code: ExitCode) -> Never {
  _ = ca_disable_interrupts()
  exitCode = code
  serialPort?.drain()
  ca_semihosting_exit(code.rawValue)
  // Without semihosting, the instruction above is undefined: its handler switches off.
  switchOff()
}

/// Switches a machine without semihosting off, by firmware or its power manager.
///
/// These pass on no exit code: it is the last line of the console.
func switchOff() -> Never {
  var console = Console()
  console.write(#"{"type":"exit","code":"#)
  console.write(UInt(exitCode.rawValue))
  console.write("}\n")
  serialPort?.drain()
  firmware.switchOff()
  powerManager?.switchOff()
  while true { ca_wait_for_interrupt() }
}

/// Reports why the kernel cannot run its scenario, and ends the machine.
func fail(_ message: StaticString) -> Never {
  Console.beginLastWords()
  Console.error(message)
  exitMachine(.failure)
}

/// Reports why the kernel cannot run its scenario, and ends the machine.
func fail<Reason: TextDescribable>(_ message: StaticString, _ reason: Reason) -> Never {
  Console.beginLastWords()
  Console.error(message, reason)
  exitMachine(.failure)
}
